# MLflow with its passwords read from files: none stands in an environment that `inspect` shows.
set -eu
password=$(cat /run/secrets/database)
database="postgresql+psycopg://sluice:$password@postgresql:5432"
umask 077
printf '[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = %s/mlflow_auth\nauthorization_function = mlflow.server.auth:authenticate_request_basic_auth\n' \
  "$database" >/tmp/basic_auth.ini
MLFLOW_AUTH_CONFIG_PATH=/tmp/basic_auth.ini
MLFLOW_AUTH_ADMIN_PASSWORD=$(cat /run/secrets/mlflow)
MLFLOW_FLASK_SERVER_SECRET_KEY=$(cat /run/secrets/flask)
MLFLOW_BACKEND_STORE_URI=$database/mlflow
export MLFLOW_AUTH_CONFIG_PATH MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY
export MLFLOW_BACKEND_STORE_URI
exec mlflow server --host 0.0.0.0 --port 5000 --workers 2 --app-name basic-auth
