# Prefect's server with its passwords read from files.
set -eu
PREFECT_SERVER_DATABASE_CONNECTION_URL=postgresql+asyncpg://sluice:$(cat /run/secrets/database)@postgresql:5432/prefect
PREFECT_SERVER_API_AUTH_STRING=$(cat /run/secrets/prefect)
export PREFECT_SERVER_DATABASE_CONNECTION_URL PREFECT_SERVER_API_AUTH_STRING
exec prefect server start --host 0.0.0.0 --port 4200 --analytics-off
