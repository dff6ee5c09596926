"""The alert rules: each fires when it should, and no other. tests/ci holds them to their pages."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
RULES = CHECKOUT / "infra" / "prometheus" / "rules.yml"
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}


def test_rules_fire_when_they_should_and_else_not() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs Prometheus' own tester: apt-get install prometheus")
    command = [promtool, "test", "rules", str(RULES.with_name("rules_test.yml"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_to_fire_and_to_stay_silent() -> None:
    quiet, wrong = yaml.safe_load(RULES.with_name("rules_test.yml").read_text())["tests"]
    silent = {one["alertname"] for one in quiet["alert_rule_test"] if "exp_alerts" not in one}
    fires = {one["alertname"] for one in wrong["alert_rule_test"] if one.get("exp_alerts")}
    assert set(ALERTS) == silent == fires


def test_every_alert_is_somebodys_to_answer() -> None:
    for rule in ALERTS.values():
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_rules_use_metrics_that_are_told() -> None:
    told = set(re.findall(r'"(sluice_[a-z_]+)"', families()))
    used = set(re.findall(r"\bsluice_[a-z_]+", "\n".join(rule["expr"] for rule in ALERTS.values())))
    recorded = {"sluice_quality_ratio", "sluice_harm_share"}
    assert {name.removesuffix("_total") for name in used} - recorded <= told


def families() -> str:
    paths = ("metrics.py", "metric_families.py", "metric_answers.py", "metric_cost.py")
    return "\n".join((CHECKOUT / "pipelines" / path).read_text() for path in paths)
