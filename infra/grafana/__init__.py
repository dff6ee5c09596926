"""Grafana dashboards: their source as code, and the JSON that Grafana reads."""
