"""The dashboards are what their source says, and ask only for what somebody tells.

No Grafana runs here: what a panel asks is put to a real Prometheus that scrapes real metrics.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from infra.grafana.source.__main__ import FOLDER, documents
from infra.local.engine_metrics import ENVOY_METRICS, TRITON_METRICS
from pipelines.metrics import PlatformCollector
from tests.http_server import Request, serving
from tests.pipelines.test_drift_attribution import StagedPlatform
from tests.prometheus import needs_prometheus, prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
RULES = CHECKOUT / "infra" / "prometheus" / "rules.yml"
RECORDED = Path(__file__).with_name("engine_metrics.txt")
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
_STRINGS = re.compile(r'"[^"]*"')
_LABELS = re.compile(r"\{[^}]*\}|\b(?:by|on|group_right|group_left)\s*\([^)]*\)")
_NAMES = re.compile(r"\b(?:sluice_|nv_|envoy_|release:|model:)[a-z0-9_:]+")
_ENDINGS = re.compile(r"_(?:bucket|sum|count)$")


def rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (one["expr"] for one in dashboard["annotations"]["list"])


def asked() -> list[str]:
    """Every expression as Grafana would send it."""
    every = [one for dashboard in DASHBOARDS.values() for one in expressions(dashboard)]
    values = {"$model": ".*", "$release": ".*", "$__range": "1h"}
    for name, value in values.items():
        every = [one.replace(name, value) for one in every]
    assert not any("$" in one for one in every)
    return sorted(set(every))


def names_in(expression: str) -> set[str]:
    return set(_NAMES.findall(_LABELS.sub(" ", _STRINGS.sub("", expression))))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a scrape of a platform with two releases and a case gives, and its engines."""
    root = tmp_path_factory.mktemp("exported")
    platform = StagedPlatform(root)
    prices = "[prices]\nhourly = { cpu = 0.12 }\n"
    (root / "sluice.toml").write_text(prices)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(PlatformCollector(platform))
    return generate_latest(registry) + RECORDED.read_bytes()


def test_the_committed_json_is_the_sources() -> None:
    made = documents()
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(made)
    for name, text in made.items():
        assert (FOLDER / name).read_text() == text, "run `python -m infra.grafana.source`"


def test_every_metric_that_is_asked_for_is_told(exported: bytes) -> None:
    ours = {line.split()[2] for line in exported.decode().splitlines() if line.startswith("# TYPE")}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    told = ours | recorded | {*TRITON_METRICS, *ENVOY_METRICS}
    for expression in [*asked(), *(rule["expr"] for rule in rules())]:
        for name in names_in(expression):
            assert {name, _ENDINGS.sub("", name)} & told, (name, expression)
    assert len([name for name in ours if name.startswith("sluice_")]) >= 40


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_a_dashboard_can_be_found_and_read(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert dashboard["uid"] == name
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in panels:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    alerts = dashboard["annotations"]["list"][0]
    assert alerts["textFormat"] == "[what to do](${runbooks}/{{alertname}}.md)"
    runbooks = next(one for one in dashboard["templating"]["list"] if one["name"] == "runbooks")
    for rule in rules():
        if "alert" in rule:
            assert (CHECKOUT / runbooks["query"] / f"{rule['alert']}.md").exists()


def result_of(client: httpx.Client, expression: str) -> list[Any]:
    answer = client.get("/api/v1/query", params={"query": expression})
    assert answer.status_code == 200, (expression, answer.text)
    found: list[Any] = answer.json()["data"]["result"]
    return found


@pytest.mark.engine
@needs_prometheus
def test_a_real_prometheus_understands_every_panel_and_fills_them(
    exported: bytes, tmp_path: Path
) -> None:
    def reply(request: Request) -> None:
        request.answer(200, exported, Content_Type="text/plain; version=0.0.4")

    with (
        serving(reply) as target,
        prometheus(tmp_path, target, rules=RULES) as address,
        httpx.Client(base_url=address, trust_env=False, timeout=10) as client,
    ):
        deadline = time.monotonic() + 40
        filled: list[Any] = []
        while not filled:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.3)
            with contextlib.suppress(httpx.TransportError, AssertionError):
                filled = result_of(client, "count(release:request_seconds:bucket_rate5m)")
        for expression in asked():
            result_of(client, expression)
        health = client.get("/api/v1/rules").json()["data"]["groups"]
        broken = [
            (rule["name"], rule["lastError"])
            for group in health
            for rule in group["rules"]
            if rule["health"] == "err"
        ]
        assert broken == []
        assert result_of(client, "sluice_route_weight_percent")
