"""Somebody sets the clock: no hold ends early or never, and no lease is held for an hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from canary.rollout import RolloutPlan, Step
from registry.errors import FencedError, LeaseHeldError
from registry.lease import LONGEST_TTL_S

from .crashing import Killed
from .stage import MODEL, after, always

if TYPE_CHECKING:
    from .stage import Stage

HOUR = 3600.0
HOLD_S = 20.0
PLAN = RolloutPlan(
    steps=(Step(weight=10, hold_s=HOLD_S, min_requests=50), Step(weight=100)),
    bake_s=HOLD_S,
    no_traffic_s=60,
    patience_s=100,
)


@pytest.mark.parametrize("seconds", [-HOUR, -2.0, 2.0, 20.0])
@pytest.mark.parametrize("ticks", [20, 120])
def test_a_hold_begins_anew_when_the_clock_is_set(
    served: Stage, seconds: float, ticks: int
) -> None:
    """At tick 20 the step is held, at tick 120 it bakes; each hold is 80 ticks long."""
    held: list[tuple[float, dict[int, int]]] = []
    set_at: list[float] = []

    def set_clock() -> None:
        served.world.clock_set_by_s += seconds
        set_at.append(served.world.now)

    set_once = after(served, ticks, set_clock)

    def sleep(wait_s: float) -> None:
        set_once(wait_s)
        held.append((served.world.now, served.weights))

    began = served.world.now
    result = served.controller(sleep=sleep).promote(MODEL, 2, PLAN)
    assert result.outcome == "settled"
    # In time that only goes on: both holds, and what was held before the clock was set.
    took, lost = served.world.now - began, set_at[0] - began - (HOLD_S if ticks == 120 else 0.0)
    assert 2 * HOLD_S + lost - 3 <= took <= 2 * HOLD_S + lost + 3
    at_ten = [at for at, weights in held if weights == {1: 90, 2: 10}]
    assert at_ten[-1] - at_ten[0] >= HOLD_S - 1


def test_a_clock_that_jumps_past_the_lease_ends_the_controller_and_resume_goes_on(
    served: Stage,
) -> None:
    def jump() -> None:
        served.world.clock_set_by_s += HOUR

    with pytest.raises(FencedError, match="the lease is over"):
        served.controller(sleep=after(served, 20, jump)).promote(MODEL, 2, PLAN)
    assert served.weights == {1: 90, 2: 10}
    assert served.controller().resume(MODEL).outcome == "settled"


def test_a_lease_of_a_clock_that_was_set_back_is_over(served: Stage) -> None:
    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        served.controller(sleep=after(served, 20, die)).promote(MODEL, 2, PLAN)
    served.leases.take_over(MODEL, "dead", now=served.world.clock(), ttl_s=60)
    with pytest.raises(LeaseHeldError):
        served.controller().resume(MODEL)
    served.world.clock_set_by_s = -HOUR
    assert served.controller().resume(MODEL).outcome == "settled"


def test_a_living_holder_keeps_its_lease_when_the_clock_is_set_back(served: Stage) -> None:
    refused = []

    def ask() -> None:
        if served.serving.rollout and served.serving.rollout.held_from is not None:
            with pytest.raises(LeaseHeldError) as caught:
                served.controller("bob").run(MODEL)
            refused.append(str(caught.value))

    def set_clock() -> None:
        served.world.clock_set_by_s -= HOUR

    asking, setting = always(served, ask), after(served, 20, set_clock)

    def sleep(seconds: float) -> None:
        setting(seconds)
        # Not in the tick in which it was set: the holder has not looked since.
        if served.world.clock_set_by_s == 0 or served.leases.current(MODEL) != lease_before[0]:
            asking(0.0)
        lease_before[0] = served.leases.current(MODEL)

    lease_before = [served.leases.current(MODEL)]
    assert served.controller(sleep=sleep).promote(MODEL, 2, PLAN).outcome == "settled"
    assert refused


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, LONGEST_TTL_S + 1, float("nan"), float("inf")])
def test_a_lease_lasts_no_longer_than_the_longest(served: Stage, ttl_s: float) -> None:
    with pytest.raises(ValueError, match="a lease from"):
        served.leases.acquire(MODEL, "x", now=1.0, ttl_s=ttl_s)
