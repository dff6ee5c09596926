# Takes flow runs from the work pool, which it makes, with the flows in it, where they are missing.
set -eu
. /etc/sluice/variables.sh
cd /opt/sluice
python -m infra.work_pools create process
prefect --no-prompt deploy --all
PREFECT_WORKER_WEBSERVER_HOST=127.0.0.1
PREFECT_WORKER_WEBSERVER_PORT=8089
export PREFECT_WORKER_WEBSERVER_HOST PREFECT_WORKER_WEBSERVER_PORT
exec prefect worker start --pool sluice --type process --install-policy never --with-healthcheck
