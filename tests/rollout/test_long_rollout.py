"""A step that is held for long: what is kept of it does not grow, what is written is bounded."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from canary.blocks import Block
from canary.ports import ArmCounters
from canary.rollout import RolloutPlan, Step
from pipelines.rollout.controller import Controller

from .stage import MODEL, QUICK, Stage, always

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
HELD_S = 12 * HOUR_S
MARKS = (1, 6, 11)
"""Hours after which the state is measured."""
PLAN = RolloutPlan(steps=(Step(weight=10, hold_s=HELD_S), Step(weight=100)), tick_s=30, bake_s=1)


def patient(stage: Stage, sleep: Callable[[float], None]) -> Controller:
    """One whose lease outlasts the long sleeps between its looks."""
    return Controller(
        stage.journal,
        stage.leases,
        stage.world.fleet,
        stage.world.router,
        stage.world.telemetry,
        clock=stage.world.clock,
        sleep=sleep,
        actor="ci",
        ttl_s=10 * PLAN.tick_s,
    )


def test_the_state_is_as_large_after_half_a_day_as_after_an_hour() -> None:
    stage = Stage.in_memory()
    stage.world.requests_per_s = 50
    stage.controller().promote(MODEL, 1, QUICK)
    began = stage.world.now
    sizes: list[int] = []

    def measure() -> None:
        if len(sizes) < len(MARKS) and stage.world.now >= began + HOUR_S * MARKS[len(sizes)]:
            rollout = stage.serving.rollout
            assert rollout is not None
            sizes.append(len(pickle.dumps(rollout)))

    result = patient(stage, always(stage, measure)).promote(MODEL, 2, PLAN)
    assert result.outcome == "settled"
    assert stage.world.now - began >= HELD_S
    assert len(sizes) == len(MARKS)
    assert max(sizes) < 1.05 * sizes[0]
    asked = stage.serving.history[-1]
    assert asked.ended_at - asked.started_at >= HELD_S
    last = [entry for entry in stage.entries() if entry.at > stage.world.now - HOUR_S]
    assert len(last) <= HOUR_S / PLAN.tick_s + 20


def test_looking_each_second_for_a_day_writes_some_thousand_blocks() -> None:
    """By the rule that ends blocks alone: 50 requests a second, a tenth of them the candidate's."""
    tick, seen, began = 1.0, 0, 0.0
    blocks: list[float] = []
    for look in range(1, round(DAY_S / tick) + 1):
        now = look * tick
        came = int(5 * (now - began))
        block = Block(ArmCounters(came), ArmCounters(9 * came))
        if block.complete(compared=True, seen=seen, seconds=now - began, held=began):
            blocks.append(now - began)
            seen, began = seen + came, now
    assert 1000 < len(blocks) < 6000
    assert max(blocks[: len(blocks) // 10]) <= 5
    assert 59 <= max(blocks) <= 61
