# What every process of the platform needs, passwords read from files. To be sourced:
# `docker compose exec platform sh -c '. /etc/sluice/variables.sh; sluice status'`.
SLUICE_JOURNAL__URL=postgresql+psycopg://sluice:$(cat /run/secrets/database)@postgresql:5432/sluice
MLFLOW_TRACKING_PASSWORD=$(cat /run/secrets/mlflow)
PREFECT_API_AUTH_STRING=$(cat /run/secrets/prefect)
export SLUICE_JOURNAL__URL MLFLOW_TRACKING_PASSWORD PREFECT_API_AUTH_STRING
