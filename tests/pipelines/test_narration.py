"""Everything that the journal may hold has a sentence; a rollout that stands says why."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from canary import fold
from canary.rollout import RolloutPlan, Step
from drift import case
from pipelines import narration
from pipelines.narration import matters, sentence
from pipelines.overview import standing
from registry.journal import Entry
from tests.canary.world import Behaviour
from tests.rollout.stage import MODEL, QUICK, Stage, after

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(narration.__file__).parents[1]
KIND = re.compile(r"[a-z]+(-[a-z]+)*")
WRITERS = {"append", "record", "_write_down", "_wish"}
"""Functions that take the kind of an entry."""
SHADOWED = RolloutPlan(
    steps=(
        Step(shadow=50, hold_s=3, min_pairs=100),
        Step(weight=50, hold_s=3, min_requests=50, manual=True, who=("ann", "oncall")),
        Step(weight=100),
    ),
    bake_s=1,
    no_traffic_s=10,
    load_timeout_s=5,
)


def written() -> Iterator[str]:
    """Kinds that the code writes, as constants in calls of the writers."""
    for room in ("pipelines", "cli", "registry", "infra"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                if getattr(node.func, "attr", "") not in WRITERS or len(node.args) < 2:
                    continue
                for argument in node.args[:2]:
                    if isinstance(argument, ast.Constant) and KIND.fullmatch(str(argument.value)):
                        yield str(argument.value)


def test_every_kind_has_a_sentence() -> None:
    kinds = {*fold._CHANGES, *case._CHANGES, *written()}
    assert {"looked", "settle-requested", "search-ended", "release-reserved"} <= kinds
    assert kinds <= narration._SENTENCES.keys()


def test_sentences_are_made_of_what_rollouts_really_write() -> None:
    stage = Stage.in_memory()
    stage.controller().promote(MODEL, 1, QUICK)
    skipping = after(stage, 3, lambda: stage.controller("bob")._write_down(MODEL, *_SKIP))
    stage.controller(sleep=skipping).promote(MODEL, 2, QUICK)
    stage.world.behaviours[3] = Behaviour(error_share=0.4)
    stage.controller().promote(MODEL, 3, QUICK)
    stage.controller().rollback(MODEL, reason="complaints")
    said = {entry.kind: sentence(entry) for entry in stage.entries()}
    assert len(said) >= 10
    assert all(text and text != kind for kind, text in said.items())
    assert said["step-entered"].startswith("step 1: 10 % to")
    assert said["looked"] == "looked: release 1 is ready"
    assert "complaints" in said["rollback-requested"]


_SKIP: tuple[str, dict[str, Any]] = ("skip-requested", {"step": 0, "reason": "tried", "role": ""})


def test_a_rollout_that_shadows_or_waits_says_so() -> None:
    stage = Stage.in_memory()
    stage.controller().promote(MODEL, 1, QUICK)
    stood: list[str] = []

    def look() -> None:
        rollout = stage.serving.rollout
        if rollout is not None and (not stood or standing(rollout) != stood[-1]):
            stood.append(standing(rollout))
        if rollout is not None and rollout.waits and not rollout.approved_by:
            word = {"step": rollout.step, "role": "oncall"}
            stage.controller("eve")._write_down(MODEL, "resume-requested", word)

    def sleep(seconds: float) -> None:
        stage.world.sleep(seconds)
        look()

    assert stage.controller(sleep=sleep).promote(MODEL, 2, SHADOWED).outcome == "settled"
    shadows = "step 1 shadows: release 2 gets copies of 50 %, "
    assert f"{shadows}0 of 100 answered by both" in stood
    assert "step 2 waits for ann or oncall: `sluice resume`, or `sluice rollback`" in stood
    told = [sentence(entry) for entry in stage.entries() if matters(entry)]
    assert "step 1 shadows: the candidate gets copies, nobody gets its answers" in told
    assert any(line.startswith("waiting: ") for line in told)
    assert "step 2 may go on, by somebody's word as oncall" in told


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("rollback-requested", {"to": None, "reason": "no"}, "rollback asked for: no"),
        ("resume-requested", {}, "resume asked for"),
        ("settle-requested", {"reason": "urgent"}, "taking the live candidate as it is: urgent"),
        (
            "search-ended",
            {"chosen": "onnx-int8", "tried": 9, "objective": "latency"},
            "search: onnx-int8 of 9 tried for latency",
        ),
        ("a-kind-of-tomorrow", {}, "a-kind-of-tomorrow"),
    ],
)
def test_bodies_that_may_lack_something(kind: str, body: dict[str, Any], expected: str) -> None:
    assert sentence(Entry(1, MODEL, kind, 0.0, "ann", body, "", "")) == expected
