"""A coordinator may be killed at any point, twice: the next one ends legally from there."""

from __future__ import annotations

import copy
import itertools
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.canary.world import Behaviour
from tests.extent import is_whole
from tests.rollout.crashing import (
    CrashingFleet,
    CrashingJournal,
    CrashingLeases,
    CrashingRouter,
    Killed,
    Points,
)

from .stage import MODEL, Place, Stage, Wrap, plan

if TYPE_CHECKING:
    from registry.lease import Lease, Leases
    from tests.rollout.memory_journal import MemoryJournal

REGIONS = ("eu-west", "us-east")
STRIDE = 1 if is_whole else 11
CROSSED = {
    *("before bring", "after bring", "after wave-begun", "after wave-settled"),
    *("after wave-effect-started", "before wave-effect-confirmed", "before waves-ended"),
    *("after waves-started", "after rollout-started", "after write", "before rollout-ended"),
}
"""Among the points that a whole run passes."""


class Held(CrashingLeases):
    def current(self, model: str) -> Lease | None:
        return self._leases.current(model)


class Crashing(Wrap):
    """Passes a point before and after each entry, change and copy, at home and in each region."""

    def __init__(self, points: Points) -> None:
        self.points = points

    def __call__(self, journal: Any, leases: Any, fleet: Any, router: Any) -> tuple[Any, ...]:
        points = self.points
        return (
            CrashingJournal(journal, points),
            CrashingLeases(leases, points),
            CrashingFleet(fleet, points),
            CrashingRouter(router, points),
        )

    def journal(self, journal: MemoryJournal) -> Any:
        return CrashingJournal(journal, self.points)

    def leases(self, leases: Leases) -> Leases:
        return Held(leases, self.points)

    def bring(self, place: Place, model: str, release: int) -> dict[str, Any]:
        self.points.passing("before bring")
        brought = place.bring(model, release)
        self.points.passing("after bring")
        return brought


@cache
def _served() -> Stage:
    stage = Stage.new(*REGIONS).served()
    for place in stage.places.values():
        place.world.calls.clear()
    return stage


def crash(stage: Stage, point: int, policy: Literal["stop", "revert"]) -> Points:
    points = Points(at=point, act=lambda: points.kill())  # noqa: PLW0108 - not bound yet
    with suppress(Killed):
        one = stage.coordinator(wrap=Crashing(points))
        one.promote(MODEL, 2, plan(policy, REGIONS))
    return points


def finish(stage: Stage, second: int) -> None:
    """Killed once more, then left to go on."""
    stage.sleep(61)
    points = Points(at=second, act=lambda: points.kill())  # noqa: PLW0108
    with suppress(Killed):
        stage.coordinator(wrap=Crashing(points)).resume(MODEL)
    if points.dead:
        stage.sleep(61)
        stage.coordinator().resume(MODEL)


SCENARIOS: dict[str, tuple[bool, Literal["stop", "revert"], dict[str, int]]] = {
    "good": (True, "stop", dict.fromkeys(REGIONS, 2)),
    "stop": (False, "stop", {"eu-west": 2, "us-east": 1}),
    "revert": (False, "revert", dict.fromkeys(REGIONS, 1)),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_points_of_all_kinds(scenario: str) -> None:
    good, policy, live = SCENARIOS[scenario]
    names: list[str] = []
    for point in itertools.count(1, STRIDE):
        stage = copy.deepcopy(_served())
        if not good:
            stage.places["us-east"].world.behaviours[2] = Behaviour(error_share=0.5)
        points = crash(stage, point, policy)
        if not points.dead:
            names = points.names
            break
        finish(stage, 1 + point % 7)
        begun = "waves-started" in stage.kinds()[-1] or len(stage.state.history) > 1
        state = stage.state
        assert state.waves is None, (point, points.names[-1], state.waves)
        assert stage.live() == (live if begun else dict.fromkeys(REGIONS, 1)), points.names[-1]
        stage.check()
    assert set(names) >= CROSSED
