# Brings the engines up, answers Prometheus, and brings them down when it is told to.
set -eu
. /etc/sluice/variables.sh
cd /srv/sluice
[ -e sluice.toml ] || sluice init .
# Made at the first start, brought up to date after an upgrade, and nothing otherwise.
sluice journal migrate
sluice up
sluice metrics --listen 0.0.0.0:9464 &
exporter=$!
trap 'sluice down; kill "$exporter"' TERM INT
wait "$exporter"
