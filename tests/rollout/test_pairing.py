"""Pairs are read as counts, and no session of a rollout is counted twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from canary.ports import Output, Pair
from canary.rollout import RolloutPlan, Step
from pipelines.rollout.acting import World
from pipelines.rollout.pairing import PairReader

from .stage import MODEL

if TYPE_CHECKING:
    from canary.rollout import Rollout

    from .stage import Stage

PLAN = RolloutPlan(steps=(Step(shadow=50), Step(weight=100)))


def world_of(stage: Stage) -> World:
    world = stage.world
    return World(world.fleet, world.router, world.telemetry, world.clock, world.sleep)


def answered(stage: Stage, session: str, after_s: float) -> None:
    at = stage.world.now + after_s
    name = f"r{len(stage.world.mirrored)}"
    stage.world.mirrored.append(Pair(name, session, at, Output(), Output(empty=True)))


def started(stage: Stage) -> Rollout:
    body = {"rollout": 2, "candidate": 2, "baseline": 1, "plan": PLAN.model_dump(mode="json")}
    stage.journal.append(MODEL, "rollout-started", body, actor="t", at=stage.world.now)
    rollout = stage.serving.rollout
    assert rollout is not None
    return rollout


def test_a_session_counts_once_even_when_a_controller_comes_back(served: Stage) -> None:
    rollout, world, reader = started(served), world_of(served), PairReader()
    answered(served, "s", 1)
    answered(served, "", 2)
    counts, blind = reader.read(world, MODEL, rollout)
    assert counts is not None
    assert (counts.pairs, counts.sessions, blind) == (2, 2, "")
    assert reader.read(world, MODEL, rollout)[0] == counts, "nothing was counted yet"
    counted = replace(rollout, pairs=rollout.pairs.after(counts, served.world.now))
    for session in ("s", "other"):
        answered(served, session, 3)
    for one in (reader, PairReader()):
        more, _ = one.read(world, MODEL, counted)
        assert more is not None
        assert (more.pairs, more.sessions) == (1, 1)


def test_a_pair_that_is_told_of_late_is_counted(served: Stage) -> None:
    rollout, world, reader = started(served), world_of(served), PairReader()
    answered(served, "", 9)
    counts, _ = reader.read(world, MODEL, rollout)
    assert counts is not None
    counted = replace(rollout, pairs=rollout.pairs.after(counts, served.world.now))
    answered(served, "", 5)
    more, _ = reader.read(world, MODEL, counted)
    assert more is not None
    assert more.pairs == 1


def test_pairs_of_an_earlier_rollout_are_left_out(served: Stage) -> None:
    answered(served, "", -5)
    counts, _ = PairReader().read(world_of(served), MODEL, started(served))
    assert counts is not None
    assert counts.pairs == 0
