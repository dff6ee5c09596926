"""Writes the dashboards that Grafana reads."""

from __future__ import annotations

from pathlib import Path

from infra.grafana.source.delivery import DELIVERY
from infra.grafana.source.drift import DRIFT
from infra.grafana.source.fleet import FLEET
from infra.grafana.source.panels import render
from infra.grafana.source.rollout import ROLLOUT

PAGES = (FLEET, ROLLOUT, DRIFT, DELIVERY)
FOLDER = Path(__file__).resolve().parents[1] / "dashboards"


def documents() -> dict[str, str]:
    """Every dashboard's JSON by the name of its file."""
    return {f"{page.uid}.json": render(page) for page in PAGES}


def main() -> None:
    """Write them."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
