"""A rehearsal tells the effects that the real rollout then does, and writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from canary.rehearsal import rehearse
from canary.rollout import RolloutPlan, Step
from tests.rollout.stage import MODEL, QUICK, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from canary.rehearsal import Rehearsal

PLANS = {
    "quick": QUICK,
    "alone": QUICK.model_copy(update={"keep_previous": False}),
    "straight": RolloutPlan(steps=(Step(weight=100),), bake_s=1),
    "retry": QUICK.model_copy(update={"retry_to_baseline": True}),
}


def effects(rehearsal: Rehearsal) -> list[dict[str, object]]:
    return [dict(planned.effect) for planned in rehearsal.planned if planned.kind == "effect"]


@pytest.mark.parametrize("name", PLANS)
def test_the_rollout_does_what_was_rehearsed(tmp_path: Path, name: str) -> None:
    plan = PLANS[name]
    stage = Stage.at(tmp_path)
    for release in (1, 2, 3):
        before = stage.entries()
        rehearsal = rehearse(stage.serving, release, plan)
        assert stage.entries() == before
        began = stage.world.now
        assert stage.controller().promote(MODEL, release, plan).outcome == rehearsal.outcome
        done = [entry for entry in stage.entries()[len(before) :] if entry.kind == "effect-started"]
        started = [{k: v for k, v in one.body.items() if k != "effect"} for one in done]
        assert effects(rehearsal) == started
        assert rehearsal.least_s <= stage.world.now - began + 1e-6


def test_people_copies_and_evidence_are_waited_for(tmp_path: Path) -> None:
    stage = Stage.at(tmp_path)
    stage.controller().promote(MODEL, 1, QUICK)
    plan = RolloutPlan(
        steps=(
            Step(shadow=20, hold_s=2, until="evidence"),
            Step(weight=10, hold_s=3, until="evidence"),
            Step(weight=50, hold_s=4, manual=True, who=("ann", "bob")),
            Step(weight=100),
        ),
        bake_s=5,
        cap=20,
    )
    rehearsal = rehearse(stage.serving, 2, plan)
    assert rehearsal.outcome == "settled"
    told = [(one.kind, one.what) for one in rehearsal.planned]
    assert ("effect", "route release 1 100 %, copies of 20 % to release 2") in told
    assert ("person", "waits for `sluice resume` by ann or bob") in told
    assert rehearsal.least_s >= 2 + 3 + 4 + 5
    routes = [one for one in rehearsal.planned if one.effect.get("name") == "WriteRoute"]
    weights = [one.effect["arguments"]["shares"][-1] for one in routes]
    assert [2, 10] in weights
    assert weights.index([2, 10]) < weights.index([2, 50]) < weights.index([2, 100])
