"""A candidate's memory: what leaks is found, whatever finds its level is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from canary.blocks import Observation
from canary.case import BY_HEALTH
from canary.explain import explain
from canary.memory import APART_S, HEIGHTS, MB, RISE, MemoryWatch
from canary.observing import observe
from canary.plan import RolloutPlan
from canary.ports import RevisionState, RevisionStatus
from canary.states import ModelServing
from tests.rollout.stage import MODEL, QUICK, Stage

from .world import Behaviour, MemoryWorld

if TYPE_CHECKING:
    from pathlib import Path

PLAN = RolloutPlan(memory_growth=4, memory_floor_mb=2048)


def watched(first_mb: float, later_mb: list[float], *, every_s: float = 5.0) -> MemoryWatch:
    watch = MemoryWatch(round(first_mb * MB))
    for number, held in enumerate(later_mb, start=1):
        watch = watch.after(round(held * MB), number * every_s, PLAN)
    return watch


def test_a_leak_is_found_and_said() -> None:
    watch = watched(500, [500 + 20 * number for number in range(400)])
    assert watch.trouble.startswith("its memory grew from 500 to ")
    # Over the limit at 2548 MB, found half as much above.
    held = [500 + 20 * number for number in range(175)]
    assert held[-1] > RISE ** (HEIGHTS - 1) * 2548
    assert not watched(500, [mb for mb in held if mb < 2548 * 1.3]).trouble


@settings(max_examples=100, deadline=None)
@given(
    first=st.floats(50, 20_000),
    level=st.floats(1, 40),
    noise=st.floats(0, 0.04),
    seed=st.integers(0, 1000),
)
def test_what_finds_its_level_is_left_alone(
    first: float, level: float, noise: float, seed: int
) -> None:
    """However high it is: it gets there in half a minute, and some of it comes and goes."""
    random = np.random.default_rng(seed)
    climb = first * level ** np.minimum(np.arange(2000) / 4, 1.0)
    held = climb * (1 + noise * random.uniform(-1, 1, 2000))
    assert not watched(first, held.tolist()).trouble


def test_small_processes_may_grow_many_times() -> None:
    assert not watched(20, [20 + number for number in range(2000)]).trouble


def test_falling_back_below_the_limit_begins_anew() -> None:
    heights = [3000 * 1.2**number for number in range(HEIGHTS - 1)]
    assert not watched(500, [*heights, 800, *heights], every_s=APART_S).trouble
    assert watched(500, [*heights, 8000], every_s=APART_S).trouble


def test_it_takes_its_time() -> None:
    heights = [3000 * 1.2**number for number in range(20)]
    assert not watched(500, heights, every_s=1.0).trouble


def test_looks_that_say_nothing_change_nothing() -> None:
    watch = watched(500, [3000.0])
    assert watch.after(3100 * MB, 1000.0, PLAN) == watch
    assert watch.after(0, 1000.0, PLAN) == watch
    assert watched(500, [900.0, 1200.0]) == MemoryWatch(500 * MB)


def test_watching_can_be_turned_off() -> None:
    off = RolloutPlan(memory_growth=0)
    watch = MemoryWatch(100 * MB)
    for number in range(100):
        watch = watch.after(1000 * number * MB, 20.0 * number, off)
    assert watch == MemoryWatch(100 * MB)


@pytest.mark.parametrize("wrong", [{"memory_growth": 0.5}, {"memory_floor_mb": -1}])
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="memory_"):
        RolloutPlan.model_validate(wrong)


def seen(at: float, held_mb: float, state: RevisionState = RevisionState.READY) -> Observation:
    return Observation(at, {1: RevisionStatus(state, memory_bytes=round(held_mb * MB))})


def test_memory_is_kept_in_the_journals_observations() -> None:
    observation = seen(5.0, 700)
    told = observation.to_json()
    assert told["revisions"] == {"1": ["ready", "", 0, 700 * MB]}
    again = Observation.from_json(told).revisions[1]
    assert again.memory_bytes == 700 * MB
    older = {**told, "revisions": {"1": ["ready", "", 0]}}
    assert Observation.from_json(older).revisions[1].memory_bytes == 0
    unknown = Observation(5.0, {1: RevisionStatus(RevisionState.READY)})
    assert unknown.to_json() == older


def test_another_process_begins_anew_and_no_other_release_is_followed() -> None:
    serving = ModelServing("speech")
    belief = None
    for at, (held, state) in enumerate(
        [(700, RevisionState.READY), (9000, RevisionState.READY), (0, RevisionState.STARTING)]
    ):
        before = serving
        serving = observe(serving, seen(at, held, state), partial=False)
        belief = serving.belief(1)
        assert belief is not None
        if state is RevisionState.READY:
            assert belief.memory == MemoryWatch(700 * MB)
            assert at == 0 or serving == before
    assert belief is not None
    assert belief.memory is None
    belief = observe(serving, seen(9.0, 50), partial=False).belief(1)
    assert belief is not None
    assert belief.memory == MemoryWatch(50 * MB)


def test_a_leaking_candidate_is_turned_back_and_the_journal_replays(tmp_path: Path) -> None:
    plan = QUICK.model_copy(update={"bake_s": 90.0, "tick_s": 1.0})
    stage = Stage.at(tmp_path, MemoryWorld(requests_per_s=100.0))
    # What has served for long may hold what it likes.
    stage.world.behaviours[1] = Behaviour(memory_mb=600, leak_mb_per_s=500)
    stage.controller().promote(MODEL, 1, QUICK)
    stage.world.behaviours[2] = Behaviour(memory_mb=600, leak_mb_per_s=100)
    result = stage.controller().promote(MODEL, 2, plan)
    assert result.outcome == "rolled-back"
    assert "its memory grew from 6" in result.reason
    turned = next(one for one in stage.entries() if one.body.get("decision") == "roll-back")
    assert turned.body["rule"] == BY_HEALTH
    assert explain(stage.entries()).disagreements == ()
