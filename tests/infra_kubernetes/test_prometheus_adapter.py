"""The adapter's rules say of real samples what scaling goes by. Asked of Prometheus' own engine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import infra.kubernetes

if TYPE_CHECKING:
    from collections.abc import Mapping

RULES = Path(infra.kubernetes.__file__).with_name("prometheus-adapter.yaml")
SERIES = [
    # 40 requests a second, which wait 2 ms each; then one pod that was asked nothing.
    {"series": 'nv_inference_queue_duration_us{pod="a"}', "values": "0+4800000x10"},
    {"series": 'nv_inference_request_success{pod="a"}', "values": "0+2400x10"},
    {"series": 'nv_inference_queue_duration_us{pod="b"}', "values": "0x10"},
    {"series": 'nv_inference_request_success{pod="b"}', "values": "0x10"},
    {"series": 'sluice_releases{model="speech"}', "values": "3x10"},
    {"series": 'sluice_route_weight_percent{model="speech",release="2"}', "values": "100x10"},
    {"series": 'sluice_route_copies_percent{model="speech",release="1"}', "values": "5x10"},
    {"series": 'sluice_rollout_phase{model="speech",phase="baking"}', "values": "1x10"},
    {"series": 'sluice_rollout_phase{model="speech",phase="paused"}', "values": "0x10"},
]


def query(name: str, matchers: str, group: str = "") -> str:
    rules = yaml.safe_load(RULES.read_text())["rules"]
    (found,) = (
        one["metricsQuery"]
        for one in (*rules["custom"], *rules["external"])
        if one["name"]["as"] == name
    )
    return str(found.replace("<<.LabelMatchers>>", matchers).replace("<<.GroupBy>>", group))


def asked(expression: str, *samples: Mapping[str, Any]) -> dict[str, Any]:
    return {"expr": expression, "eval_time": "5m", "exp_samples": list(samples)}


PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool: apt install prometheus")
def test_the_rules_say_what_the_samples_mean(tmp_path: Path) -> None:
    weight, rollout = "sluice_revision_weight_percent", "sluice_rollouts_under_way"
    of_two, of_nine = 'model="speech",release="2"', 'model="speech",release="9"'
    tests = [
        asked(
            query("triton_queue_ms_per_request", 'pod=~"a|b"', "pod"),
            {"labels": '{pod="a"}', "value": 2},
            {"labels": '{pod="b"}', "value": 0},
        ),
        asked(query(weight, of_two), {"value": 100}),
        asked(query(weight, 'model="speech",release="1"'), {"value": 5}),
        asked(query(weight, of_nine), {"value": 0}),
        asked(query(rollout, 'model="speech"'), {"value": 1}),
        asked(query(rollout, 'model="text"'), {"value": 0}),
    ]
    # Without the exporter nothing is said, so nothing is scaled to zero.
    silent = [asked(query(weight, of_two)), asked(query(rollout, 'model="speech"'))]
    document = {
        "evaluation_interval": "1m",
        "tests": [
            {"interval": "1m", "input_series": SERIES, "promql_expr_test": tests},
            {"interval": "1m", "input_series": SERIES[:4], "promql_expr_test": silent},
        ],
    }
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump(document))
    command = [str(PROMTOOL), "test", "rules", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
