"""A real command, its flow and its stages, as a collector sees them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.infra_observability.collector import collecting

from .conftest import GRID, MODEL

if TYPE_CHECKING:
    from .conftest import Home

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def test_a_gate_is_one_trace_of_command_flow_and_stages(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The newest artifact may be another test's.
    good = home.json("register", MODEL, str(GRID / "models" / MODEL))["digest"]
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("SLUICE_LOG", "json")
        ran = home.run(
            *("gate", MODEL, "-v", "openvino-fp16", "--artifact", good), "--output", "json"
        )
        assert ran.code == 0, ran.err
    by_name = {one.name: one for one in collector.spans}
    command, flow = by_name["sluice gate"], by_name["flow gate"]
    assert (command.parent, flow.parent) == ("", command.id)
    assert {one.trace for one in collector.spans} == {command.trace}
    for stage in ("dataset", "evaluate", "judge", "record"):
        assert by_name[stage].parent == flow.id
    assert "gate-decided" in [name for name, _ in flow.events]
    lines = [json.loads(line) for line in ran.err.splitlines()]
    assert {line["trace_id"] for line in lines} == {command.trace}
    (decided,) = (line for line in lines if line["event"] == "gate-decided")
    assert (decided["model"], decided["verdict"]) == (MODEL, ran.value["verdict"])
