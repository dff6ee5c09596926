"""Experiments from the command line: shown from a real journal, and refused before they begin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from cli.durations import seconds
from cli.main import app
from pipelines.experiment import experiment_plan
from pipelines.model_config import load_model_config
from registry.errors import PermanentEngineError, UserError
from registry.workspace import Workspace
from tests.canary.world import Behaviour
from tests.rollout.stage import MODEL, QUICK, Stage, after

from .program import run
from .test_canary_commands import POLICY, publish, served_workspace

if TYPE_CHECKING:
    from pathlib import Path

PLAN = experiment_plan(QUICK, weight=50, lasts_s=10, metrics=["errors", "slow"])


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Release 1 serves and 2 is published."""
    stage = served_workspace(tmp_path)
    publish(stage, 1, 2)
    return stage


def test_it_is_shown_to_people_and_machines_without_an_engine(stage: Stage, tmp_path: Path) -> None:
    stage.world.behaviours[1] = Behaviour(slow_share=0.1)
    assert stage.controller().promote(MODEL, 2, PLAN).outcome == "compared"
    ran = run("experiment", "show", MODEL, workspace=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert max(map(len, ran.stdout.splitlines())) <= 80
    assert "release 2 with 1, at 50 %" in ran.stdout
    assert "the difference of failed sessions lies between" in " ".join(ran.stdout.split())
    assert "has fewer sessions with an answer over 1000 ms" in " ".join(ran.stdout.split())
    assert "at any time you look" in ran.stdout
    told = json.loads(run("experiment", "show", MODEL, "-o", "json", workspace=tmp_path).stdout)
    assert (told["state"], told["candidate"], told["unit"]) == ("compared", 2, "session")
    slow = next(one for one in told["compared"] if one["metric"] == "slow")
    assert slow["interval"]["high"] < 0
    assert slow["interval"]["differs"] is True
    history = run("history", MODEL, workspace=tmp_path).stdout
    assert "experiment with release 2 at 50 % against 1" in " ".join(history.split())
    assert "experiment ended" in history


def test_one_that_nobody_drives_is_still_shown(stage: Stage, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill() -> None:
        raise KilledError

    with pytest.raises(KilledError):
        stage.controller(sleep=after(stage, 30, kill)).promote(MODEL, 2, PLAN)
    told = json.loads(run("experiment", "show", MODEL, "-o", "json", workspace=tmp_path).stdout)
    assert (told["state"], told["ended_at"]) == ("shifting", None)
    assert told["ends_at"] == told["started_at"] + 10
    ran = run("experiment", "start", MODEL, "2", "--for", "1h", workspace=tmp_path)
    assert ran.returncode == 2


REFUSED = (
    (("start", MODEL, "2", "--for", "soon"), "'soon' is no duration"),
    (("start", MODEL, "2", "--weight", "100"), "compares nothing"),
    (("start", MODEL, "2", "--metric", "sick"), "cannot be compared"),
    (("start", MODEL, "7"), "no release 7"),
    (("start", MODEL, "2"), "front door is not up"),
    (("show", MODEL), "no experiment yet"),
    (("stop", MODEL), "no experiment is under way"),
    (("show", "nobody"), "nobody"),
)


def test_what_cannot_be_is_one_line(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_WORKSPACE", "")
    before = stage.kinds()
    for arguments, said in REFUSED:
        ran = CliRunner().invoke(app, ["-w", str(tmp_path), "experiment", *arguments])
        assert isinstance(ran.exception, UserError | PermanentEngineError), arguments
        assert said in str(ran.exception)
        assert "\n" not in str(ran.exception)
    assert stage.kinds() == before


def test_no_models_file_makes_its_promotions_experiments(tmp_path: Path) -> None:
    (tmp_path / "sluice.toml").touch()
    (tmp_path / "models").mkdir()
    policy = POLICY.partition("steps = [")[0]
    steps = 'ends_with = "return"\nsteps = [{ weight = 50, hold_s = 60 }]\n'
    (tmp_path / "models" / f"{MODEL}.toml").write_text(policy + steps)
    with pytest.raises(UserError, match="`sluice experiment` sets ends_with"):
        load_model_config(Workspace(tmp_path), MODEL)


@pytest.mark.parametrize(
    ("written", "meant"), [("90s", 90), ("1.5h", 5400), ("7d", 604_800), ("2w", 1_209_600)]
)
def test_durations(written: str, meant: float) -> None:
    assert seconds(written) == meant


@pytest.mark.parametrize("written", ["0d", "7", "d", "-1d", "1d2h", ""])
def test_what_is_no_duration(written: str) -> None:
    with pytest.raises(UserError, match="is no duration"):
        seconds(written)
