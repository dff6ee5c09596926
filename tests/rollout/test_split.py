"""A route that does not split as it says: the rollout pauses, and goes on when a person says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary.rollout import RolloutPlan, Step

from .stage import MODEL

if TYPE_CHECKING:
    from .stage import Stage

SLOW_STEP = RolloutPlan(
    steps=(Step(weight=10, hold_s=30, min_requests=50), Step(weight=100)),
    bake_s=2,
    no_traffic_s=10,
    load_timeout_s=5,
)


def test_a_split_that_is_not_the_configured_one_pauses(served: Stage) -> None:
    served.world.misrouted = 0.25
    result = served.controller().promote(MODEL, 2, SLOW_STEP)
    assert result.outcome == "paused"
    assert "the route says 10%" in result.reason
    assert served.weights == {1: 100}
    served.world.misrouted = None
    assert served.controller().resume(MODEL).outcome == "settled"


def test_without_sessions_the_split_is_not_judged(served: Stage) -> None:
    """One session of many requests would look like a wrong split."""
    served.world.misrouted, served.world.tells_sessions = 0.25, False
    assert served.controller().promote(MODEL, 2, SLOW_STEP).outcome == "settled"


def test_a_right_split_is_never_in_the_way(served: Stage) -> None:
    assert served.controller().promote(MODEL, 2, SLOW_STEP).outcome == "settled"
    assert "split" not in " ".join(served.lines)
