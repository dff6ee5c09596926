"""Drift from the command line: what an empty log says, and words of people about cases."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .program import run
from .test_canary_commands import POLICY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    assert run("init", str(tmp_path)).returncode == 0
    (tmp_path / "models").mkdir(exist_ok=True)
    (tmp_path / "models" / "speech.toml").write_text(POLICY)
    return tmp_path


def test_an_empty_log_is_too_little_and_a_machine_can_read_it(workspace: Path) -> None:
    ran = run(
        "drift", "check", "speech", "--window", "30m", "--output", "json", workspace=workspace
    )
    assert ran.returncode == 3, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["verdict"], told["case"]) == ("not enough data", "none is open")
    assert "the window is empty" in told["reason"]


def test_words_about_cases_are_kept_or_refused_in_one_line(workspace: Path) -> None:
    muted = run("drift", "mute", "speech", "--for", "2h", "--reason", "test", workspace=workspace)
    assert muted.returncode == 0, muted.stderr
    assert "everything until" in muted.stdout
    shown = run("drift", "show", "speech", "--output", "json", workspace=workspace)
    assert json.loads(shown.stdout)["mute"]["reason"] == "test"
    for words, reason in (
        (("ack", "speech"), "no drift case is open"),
        (("mute", "speech", "--for", "60d", "--reason", "x"), "within 30 days"),
        (("mute", "speech", "--for", "soon", "--reason", "x"), "is no duration"),
        (("show", "nobody"), "no model 'nobody'"),
    ):
        ran = run("drift", *words, workspace=workspace)
        assert ran.returncode == 2
        assert reason in ran.stderr
        assert ran.stderr.count("\n") == 1
