"""A controller may be killed at any point, twice, and somebody else may take over at any point."""

from __future__ import annotations

import copy
import itertools
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canary.rollout import Observation, Outcome, RolloutPlan, Step, advance, decide
from canary.states import ModelServing, Phase
from registry.errors import FencedError
from tests.canary.world import Behaviour, MemoryWorld

from .crashing import Killed, Points, crashing_controller
from .memory_journal import MemoryJournal
from .stage import MODEL, Stage, always

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.rollout.result import RolloutResult

    from .memory_journal import Snapshot

PLAN = RolloutPlan(
    steps=(Step(weight=50, hold_s=0.5, min_requests=30), Step(weight=100)),
    bake_s=0.5,
    no_traffic_s=5,
    load_timeout_s=2,
)

STEPS = RolloutPlan(
    steps=(
        Step(shadow=100, hold_s=0.25, min_pairs=20),
        Step(weight=20, hold_s=1000),
        Step(weight=50, hold_s=0.25, min_requests=20, manual=True, who=("ann",)),
        Step(weight=100),
    ),
    bake_s=0.5,
    no_traffic_s=5,
    load_timeout_s=2,
)
"""All that can be crossed: copies, a step that only skipping ends, and somebody's word."""

GOOD = Behaviour()
BAD = Behaviour(error_share=0.5)
BROKEN = Behaviour(fails=True)
UNFIT = Behaviour(unfit=True)

SIDES = ("before", "after")
EVERYWHERE = {
    f"{side} {what}"
    for side in SIDES
    for what in ("rollout-started", "effect-started", "effect-confirmed", "rollout-ended")
} | {f"{side} start" for side in SIDES}

ENDS = {
    "good": (GOOD, {Outcome.SETTLED}),
    "bad": (BAD, {Outcome.ROLLED_BACK}),
    "broken": (BROKEN, {Outcome.REJECTED}),
    "unfit": (UNFIT, {Outcome.REJECTED}),
}


@cache
def _served() -> tuple[Snapshot, MemoryWorld, ModelServing]:
    stage = Stage.in_memory()
    assert stage.controller().promote(MODEL, 1, PLAN).outcome == "settled"
    stage.world.calls.clear()
    assert isinstance(stage.journal, MemoryJournal)
    return stage.journal.snapshot(), stage.world, stage.serving


def served_stage() -> Stage:
    """Release 1 serves everything; it must stay loaded whatever comes."""
    journal, world, serving = _served()
    stage = Stage.in_memory(copy.deepcopy(world), journal)
    stage.folded = serving
    before = stage.world.watch
    assert before is not None

    def watch(world: MemoryWorld) -> None:
        before(world)
        name, argument = world.calls[-1]
        assert (name, argument) != ("stop", 1), "the baseline was stopped"

    stage.world.watch = watch
    return stage


def finish(stage: Stage) -> RolloutResult:
    """Come back after the lease is over, and go on until nothing is under way."""
    stage.world.sleep(61)
    result = stage.controller("after").resume(MODEL)
    if stage.serving.rollout is not None:
        result = stage.controller("after").resume(MODEL)
    return result


def check_end(stage: Stage, legal: set[Outcome]) -> None:
    serving = stage.serving
    assert serving.rollout is None
    outcome = serving.history[-1].outcome
    assert outcome in legal
    live = 2 if outcome is Outcome.SETTLED else 1
    assert serving.live == live
    assert stage.weights == {live: 100}
    assert set(stage.world.revisions) == ({1, 2} if live == 2 else {1})
    assert serving.warm == tuple(sorted(stage.world.revisions))


@pytest.mark.parametrize("scenario", ENDS)
def test_killed_at_every_point(scenario: str) -> None:
    behaviour, legal = ENDS[scenario]
    crossed: set[str] = set()
    for point in itertools.count(1):
        stage = served_stage()
        stage.world.behaviours[2] = behaviour
        points = Points(at=point, act=lambda: points.kill())  # noqa: B023, PLW0108 - run at once
        with suppress(Killed):
            crashing_controller(stage, points).promote(MODEL, 2, PLAN)
        if not points.dead:
            break
        crossed.add(points.names[-1])
        if stage.serving.rollout is None and len(stage.serving.history) == 1:
            continue  # killed before the rollout began
        finish(stage)
        check_end(stage, legal)
    assert crossed >= EVERYWHERE
    if scenario == "good":
        assert crossed >= {f"{side} alias" for side in SIDES}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_killed_twice_while_the_world_changes(data: st.DataObject) -> None:
    behaviour, _ = ENDS[data.draw(st.sampled_from(sorted(ENDS)))]
    stage = served_stage()
    stage.world.behaviours[2] = behaviour
    for life in range(3):
        points = Points(at=data.draw(st.integers(1, 40)), act=lambda: points.kill())  # noqa: B023, PLW0108
        with suppress(Killed):
            controller = crashing_controller(stage, points)
            if life == 0:
                controller.promote(MODEL, 2, PLAN)
            else:
                controller.resume(MODEL, take_over=True)
        happen(stage, data.draw(st.sampled_from(sorted(HAPPENINGS))))
    if len(stage.serving.history) == 1 and stage.serving.rollout is None:
        return
    finish(stage)
    check_end(stage, {Outcome.SETTLED, Outcome.ROLLED_BACK, Outcome.REJECTED})


def give_word(stage: Stage) -> None:
    """What people ask of `STEPS`: skip the second step, and let the third go on."""
    rollout = stage.serving.rollout
    if rollout is None or rollout.phase is not Phase.SHIFTING:
        return
    if rollout.step == 1 and rollout.skip is None:
        stage.controller("bob").skip(MODEL, "seen enough")
    if rollout.waits and not rollout.approved_by:
        stage.controller("ann").resume(MODEL)


@pytest.mark.parametrize("worse", [GOOD, Behaviour(empty_share=0.5)], ids=["good", "empty"])
def test_killed_at_every_point_of_shadow_skip_and_word(worse: Behaviour) -> None:
    """Between the point after one change and the point before the next, nothing changes."""
    crossed: set[str] = set()
    for point in itertools.count(2, 2):
        stage = served_stage()
        stage.world.behaviours[2] = worse
        stage.world.requests_per_s = 100  # each copy is answered one by one here
        sleep = always(stage, partial(give_word, stage))
        points = Points(at=point, act=lambda: points.kill())  # noqa: B023, PLW0108 - run at once
        with suppress(Killed):
            crashing_controller(stage, points, sleep=sleep).promote(MODEL, 2, STEPS)
        if not points.dead:
            break
        crossed.add(points.names[-1])
        if stage.serving.rollout is None and len(stage.serving.history) == 1:
            continue  # killed before the rollout began
        stage.world.sleep(61)
        stage.controller("after", sleep=sleep).run(MODEL)
        check_end(stage, {Outcome.SETTLED} if worse is GOOD else {Outcome.REJECTED})
        assert stage.serving.mirror is None
        assert stage.kinds().count("step-skipped") == (worse is GOOD)
    assert crossed >= {name for name in EVERYWHERE if name.startswith("after")}


def restart_machine(world: MemoryWorld) -> None:
    world.vanish()
    world.restart_router()


HAPPENINGS: dict[str, Callable[[MemoryWorld], object]] = {
    "nothing": lambda _: None,
    "time": lambda world: world.sleep(30),
    "machine restarts": restart_machine,
    "router forgets": lambda world: world.restart_router(forget_route=True),
    "candidate vanishes": lambda world: world.vanish(2),
    "baseline vanishes": lambda world: world.vanish(1),
}


def happen(stage: Stage, what: str) -> None:
    HAPPENINGS[what](stage.world)


def test_taken_over_at_every_point_it_does_nothing_more() -> None:
    """Somebody rolls back at point n; the first controller notices and changes nothing.

    A start or stop that is on its way when the lease is taken may still arrive, since a fleet
    knows no token. A route may not, whenever it was sent.
    """
    for point in itertools.count(1):
        stage = served_stage()

        def take_over(stage: Stage = stage) -> None:
            if stage.serving.rollout is None:
                return
            stage.controller("ann").rollback(MODEL, 1, "complaints")
            stage.world.calls.clear()
            stage.aliases.clear()

        points = Points(at=point, act=take_over)
        with suppress(FencedError):
            crashing_controller(stage, points).promote(MODEL, 2, PLAN)
        if points.passed < point:
            break
        name = points.names[point - 1]
        if stage.serving.history[-1].reason != "complaints":
            continue
        late = name in ("after effect-started", "before start", "before stop")
        arrived = {name for name, _ in stage.world.calls}
        assert arrived <= ({"start", "stop"} if late else set()), name
        assert stage.weights == {1: 100}
        assert stage.serving.live == 1
    assert point > 30


@pytest.mark.parametrize("plan", [PLAN, STEPS], ids=["plain", "steps"])
@pytest.mark.parametrize("scenario", ENDS)
def test_decisions_replay_from_the_journal(scenario: str, plan: RolloutPlan) -> None:
    stage = served_stage()
    stage.world.behaviours[2] = ENDS[scenario][0]
    sleep = always(stage, partial(give_word, stage))
    stage.controller(sleep=sleep).promote(MODEL, 2, plan)
    serving, replayed = ModelServing(MODEL), 0
    for entry in stage.entries():
        if entry.kind == "decided":
            decision = decide(serving, Observation.from_json(entry.body["observation"]))
            told = {key: entry.body[key] for key in ("decision", "reason", "rule", "evidence")}
            assert decision.to_json() == told
            replayed += 1
        serving = advance(serving, entry)
    assert replayed >= 2
    assert serving == stage.serving
