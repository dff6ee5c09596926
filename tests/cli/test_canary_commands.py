"""Explaining, rehearsing and steering a rollout from the command line, on a real journal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.assembly import Platform
from pipelines.promote import wait_for_rollout
from pipelines.stages import watching
from registry.errors import ConflictError
from registry.workspace import Workspace
from tests.canary.world import Behaviour
from tests.rollout.stage import MODEL, QUICK, Stage, after

from .program import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLICY = f"""
kind = "ctc-speech"

[convert]
variants = ["onnx-fp32"]

[gate]
dataset = "set"
sha256 = "{"ab" * 32}"
limits.wer = 0.05

[rollout]
bake_s = 5
keep_previous = false
steps = [
  {{ shadow = 20, hold_s = 2, min_pairs = 50 }},
  {{ weight = 10, hold_s = 3, manual = true, who = ["ann"] }},
  {{ weight = 100 }},
]
"""


def served_workspace(root: Path) -> Stage:
    """A workspace with the model's policy, in which release 1 serves."""
    assert run("init", str(root)).returncode == 0
    (root / "models").mkdir(exist_ok=True)
    (root / "models" / f"{MODEL}.toml").write_text(POLICY)
    state = Workspace(root).state
    state.mkdir(exist_ok=True)
    stage = Stage.at(state)
    stage.controller().promote(MODEL, 1, QUICK)
    return stage


def publish(stage: Stage, *releases: int) -> None:
    """Journal the releases as published ones."""
    for release in releases:
        body = {"release": release, "variant": "onnx-fp32", "format": "onnx", "bytes": 1}
        digests = dict.fromkeys(
            ("variant_digest", "artifact", "report_digest", "manifest_digest", "serve"), "ab" * 32
        )
        stage.journal.append(MODEL, "release-published", body | digests, actor="ci", at=1.0)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Release 1 serves, release 2 was turned back, release 3 is published."""
    stage = served_workspace(tmp_path)
    stage.world.behaviours[2] = Behaviour(error_share=0.3)
    stage.controller().promote(MODEL, 2, QUICK)
    publish(stage, 1, 2, 3)
    return stage


def test_a_rollout_is_explained_for_people(stage: Stage, tmp_path: Path) -> None:
    page = tmp_path / "rollout.html"
    ran = run("canary", "explain", MODEL, "--page", str(page), workspace=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "come out the same" in ran.stdout
    assert "More errors than the baseline: e-value, log scale" in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 80 + len(str(page))
    charts = ran.stdout[ran.stdout.index("log scale") :]
    assert charts.isascii()
    assert max(map(len, charts.splitlines())) <= 80
    assert page.read_text().startswith("<!doctype html>")
    assert stage.decisions()[-1] == "roll-back"


def test_a_rollout_is_explained_for_machines(stage: Stage, tmp_path: Path) -> None:
    ran = run("canary", "explain", MODEL, "--rollout", "1", "-o", "json", workspace=tmp_path)
    assert ran.returncode == 0, ran.stderr
    value = json.loads(ran.stdout)
    assert (value["rollout"], value["candidate"], value["agrees"]) == (1, 1, True)
    ended = stage.serving.history[0]
    assert (value["outcome"], value["ended_at"]) == (ended.outcome, ended.ended_at)


def test_a_decision_that_comes_out_otherwise_is_refused(stage: Stage, tmp_path: Path) -> None:
    entries = stage.entries()
    started = next(one for one in reversed(entries) if one.kind == "rollout-started")
    hold = next(
        one
        for one in entries
        if one.sequence > started.sequence and one.body.get("decision") == "hold"
    )
    body = {**started.body, "rollout": 3, "candidate": 3}
    stage.journal.append(MODEL, "rollout-started", body, actor="ci", at=2.0)
    wrong = {**hold.body, "reason": "because"}
    sequence = stage.journal.append(MODEL, "decided", wrong, actor="ci", at=3.0).sequence
    ran = run("canary", "explain", MODEL, workspace=tmp_path)
    assert ran.returncode == 1
    assert "1 of 1 decisions come out otherwise" in ran.stdout
    assert f"entry {sequence} says hold (because)" in ran.stdout


def test_what_cannot_be_explained_is_one_line(stage: Stage, tmp_path: Path) -> None:
    ran = run("canary", "explain", MODEL, "--rollout", "7", workspace=tmp_path)
    assert ran.returncode == 2
    assert "there is no rollout 7" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert run("canary", "explain", "nobody", workspace=tmp_path).returncode == 2
    page = tmp_path / "sluice.toml" / "page.html"
    ran = run("canary", "explain", MODEL, "--page", str(page), workspace=tmp_path)
    assert ran.returncode == 2
    assert stage.serving.live == 1


def snapshot(stage: Stage, folder: Path) -> tuple[Any, ...]:
    """The journal, and every file but the database's own."""
    files = [path for path in folder.rglob("*") if path.is_file() and "journal.db" not in path.name]
    return stage.entries(), sorted((str(path), path.read_bytes()) for path in files)


def test_a_dry_run_tells_every_effect_and_changes_nothing(stage: Stage, tmp_path: Path) -> None:
    before = snapshot(stage, tmp_path)
    arguments = ("promote", MODEL, "--release", "3", "--dry-run")
    table = run(*arguments, workspace=tmp_path)
    assert table.returncode == 0, table.stderr
    assert "route release 1 100 %, copies of 20 % to release 3" in " ".join(table.stdout.split())
    assert "waits for `sluice resume` by ann" in " ".join(table.stdout.split())
    assert max(map(len, table.stdout.splitlines())) <= 80
    value = json.loads(run(*arguments, "-o", "json", workspace=tmp_path).stdout)
    assert (value["release"], value["baseline"], value["publishes"]) == (3, 1, False)
    assert value["outcome"] == "settled"
    assert value["least_s"] >= 10
    effects = [one["effect"]["name"] for one in value["planned"] if one["kind"] == "effect"]
    assert effects[-2:] == ["SetAlias", "StopRevision"]
    assert snapshot(stage, tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("promote", MODEL, "--release", "1", "--dry-run"), "release 1 is live already"),
        (("promote", MODEL, "--release", "9", "--dry-run"), "no release 9"),
        (("promote", MODEL, "--dry-run"), "has no artifact yet"),
        (("promote", MODEL, "--wait", "1", "--replace"), "take one"),
        (("abort", MODEL), "there is nothing to abort"),
        (("skip", MODEL, "--reason", "in a hurry"), "there is nothing to skip"),
        (("skip", MODEL), "needs a reason"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    stage: Stage, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    before = snapshot(stage, tmp_path)
    ran = run(*arguments, workspace=tmp_path)
    assert ran.returncode == 2
    assert says in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert snapshot(stage, tmp_path) == before


@pytest.fixture
def paused(stage: Stage) -> Stage:
    """Release 3 is on its way, and stands still."""
    controller = stage.controller("ann")
    sleep = after(stage, 6, lambda: controller.request_pause(MODEL, "lunch"))
    assert stage.controller(sleep=sleep).promote(MODEL, 3, QUICK).outcome == "paused"
    return stage


@pytest.fixture
def lines() -> Iterator[list[str]]:
    told: list[str] = []
    with watching(told.append):
        yield told


def test_waiting_ends_when_the_rollout_does(
    paused: Stage, tmp_path: Path, lines: list[str]
) -> None:
    seconds = [0.0]

    def sleep(length: float) -> None:
        seconds[0] += length
        if seconds[0] == 3:
            paused.controller().abort(MODEL, "enough")

    platform = Platform(Workspace(tmp_path))
    wait_for_rollout(platform, MODEL, 60, clock=lambda: seconds[0], sleep=sleep)
    assert seconds[0] == 3
    assert lines == ["Waiting: release 3 is paused, gets 0 %"]


def test_waiting_is_bounded(paused: Stage, tmp_path: Path) -> None:
    seconds = [0.0]

    def sleep(length: float) -> None:
        seconds[0] += length

    platform = Platform(Workspace(tmp_path))
    with pytest.raises(ConflictError, match=r"after 1\.5 minutes.*sluice abort speech"):
        wait_for_rollout(platform, MODEL, 90, clock=lambda: seconds[0], sleep=sleep)
    assert seconds[0] == 90
    assert paused.serving.rollout is not None


def test_a_dry_run_beside_a_rollout_is_a_conflict(paused: Stage, tmp_path: Path) -> None:
    ran = run("promote", MODEL, "--release", "2", "--dry-run", workspace=tmp_path)
    assert ran.returncode == 2
    assert "release 3 is being rolled out (paused)" in ran.stderr
    assert paused.serving.rollout is not None
