"""Formats and serving settings that are found by measuring, on real engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tomlkit

from .conftest import GRID, MODEL

if TYPE_CHECKING:
    from .conftest import Home

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


def test_tuning_writes_what_it_measured_and_nothing_else(home: Home) -> None:
    policy = home.root / "models" / f"{MODEL}.toml"
    before = policy.read_text()
    tried = home.json(
        "tune", MODEL, *("-v", "openvino-int8"), *("--in-flight", "4"), *("--seconds", "0.2")
    )
    after = policy.read_text()
    policy.write_text(before)
    chosen = tried["chosen"]
    assert tried["written"]
    assert chosen in tried["measured"]
    assert chosen["p95_ms"] <= tried["slow_ms"]
    assert all(row["failed"] == 0 for row in tried["measured"])
    tuned = tomlkit.parse(after)["serve"]
    names = ("max_batch_size", "queue_delay_us", "instances", "threads")
    assert {name: tuned[name] for name in names} == {name: chosen[name] for name in names}
    comments = [line for line in before.splitlines() if line.startswith("#")]
    assert [line for line in after.splitlines() if line.startswith("#")] == comments


def test_a_search_keeps_what_holds_and_says_why(home: Home) -> None:
    # Other tests of this folder register others, which are newer.
    good = home.json("register", MODEL, str(GRID / "models" / MODEL))["digest"]
    ran = home.run("convert", MODEL, "--search")
    assert ran.code == 2
    assert "a search needs [convert] calibration" in ran.refusal
    policy = home.root / "models" / f"{MODEL}.toml"
    before = policy.read_text()
    from validation.dataset import Dataset

    folder = GRID / "data" / "calibration"
    pin = Dataset.load(folder).sha256
    named = f'[convert]\ncalibration = "{folder}"\ncalibration_sha256 = "{pin}"\n'
    # 96 utterances without a changed one still leave a loss of 1 % possible.
    assert "\nparent = 0.01\n" in before
    wider = before.replace("\nparent = 0.01\n", "\nparent = 0.03\n")
    policy.write_text(wider.replace("[convert]\n", named))
    try:
        found = home.json(
            *("convert", MODEL, "--search", "--most", "1", "--budget-s", "300"),
            *("--artifact", good),
        )
    finally:
        policy.write_text(before)
    tried = found["report"]["candidates"]
    chosen = next(one for one in tried if one["recipe"]["variant"] == found["chosen"])
    assert chosen["holds"]
    assert len(tried) == 2  # the parent, and the one that it was to try
    assert found["variant"]["variant"] == found["chosen"]
    assert (Path(found["evidence"]) / "front.svg").exists()
    again = home.json("gate", MODEL, *("-v", found["chosen"]), *("--artifact", good))
    assert again["report"]["verdict"] == "pass"


def test_a_calibration_set_that_is_the_evaluation_set_is_refused(home: Home) -> None:
    policy = home.root / "models" / f"{MODEL}.toml"
    before = policy.read_text()
    values = tomlkit.parse(before)
    gate = values["gate"]
    named = (
        f'[convert]\ncalibration = "{gate["dataset"]}"\ncalibration_sha256 = "{gate["sha256"]}"\n'
    )
    policy.write_text(before.replace("[convert]\n", named))
    try:
        ran = home.run("convert", MODEL, "-v", "onnx-int8-static")
    finally:
        policy.write_text(before)
    assert ran.code == 2
    assert "448 utterances are in the evaluation set too" in ran.refusal
