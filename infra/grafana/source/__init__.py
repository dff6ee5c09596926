"""Dashboards as code: `python -m infra.grafana.source` writes `infra/grafana/dashboards/*.json`.

Every expression uses metrics of our exporter, of Triton, of Envoy, or rules over them; a test
holds them to that.
"""
