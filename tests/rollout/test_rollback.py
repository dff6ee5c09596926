"""A person goes back: in the middle, long after, and to a release that is not loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from canary.ports import Route, Share
from registry.errors import FencedError, UserError
from tests.canary.world import Behaviour

from .crashing import Killed
from .stage import MODEL, QUICK, after

if TYPE_CHECKING:
    from .stage import Stage


def test_a_person_rolls_back_in_the_middle_and_the_other_controller_is_fenced(
    served: Stage,
) -> None:
    results = []

    def roll_back() -> None:
        results.append(served.controller("ann").rollback(MODEL, reason="complaints"))
        served.world.calls.clear()

    driver = served.controller(sleep=after(served, 5, roll_back))
    with pytest.raises(FencedError):
        driver.promote(MODEL, 2, QUICK)
    assert results[0].outcome == "rolled-back"
    assert results[0].reason == "complaints"
    assert served.world.calls == [], "the fenced controller changed something"
    assert served.weights == {1: 100}
    assert served.serving.history[-1].outcome == "rolled-back"


def test_a_person_rolls_back_long_after(served: Stage) -> None:
    served.controller().promote(MODEL, 2, QUICK)
    served.world.calls.clear()
    result = served.controller().rollback(MODEL, reason="complaints")
    assert result.outcome == "rolled-back"
    assert [name for name, _ in served.world.calls] == ["route", "stop"]
    assert served.serving.live == 1
    assert served.weights == {1: 100}
    with pytest.raises(UserError, match="no earlier healthy release"):
        served.controller().rollback(MODEL)


def test_rolling_back_to_a_release_that_is_not_loaded_loads_and_admits_it_first(
    served: Stage,
) -> None:
    for release in (2, 3):
        served.controller().promote(MODEL, release, QUICK)
    served.world.calls.clear()
    assert served.controller().rollback(MODEL, 1, "two are bad").outcome == "rolled-back"
    assert [name for name, _ in served.world.calls] == ["start", "route", "stop", "stop"]
    assert served.weights == {1: 100}
    assert served.world.unanswered == 0


def test_rolling_back_further_in_the_middle_frees_the_traffic_first(served: Stage) -> None:
    served.controller().promote(MODEL, 2, QUICK)
    served.controller().promote(MODEL, 3, QUICK)
    served.world.calls.clear()

    def roll_back() -> None:
        served.controller("ann").rollback(MODEL, 1, "both are bad")

    with pytest.raises(FencedError):
        served.controller(sleep=after(served, 6, roll_back)).promote(MODEL, 4, QUICK)
    routes = [call for name, call in served.world.calls if name == "route"]
    shares = [route.shares for route in routes if isinstance(route, Route)]
    assert shares == [
        (Share(3, 90), Share(4, 10)),
        (Share(3, 100),),
        (Share(1, 100),),
    ]
    assert served.serving.live == 1


def test_the_default_target_is_never_one_that_was_turned_back(served: Stage) -> None:
    served.world.behaviours[2] = Behaviour(error_share=0.5)
    assert served.controller().promote(MODEL, 2, QUICK).outcome == "rolled-back"
    assert served.controller().promote(MODEL, 3, QUICK).outcome == "settled"
    assert served.serving.previous == 1
    assert served.controller().rollback(MODEL).live == 1


def test_rolling_back_to_a_target_that_will_not_load_halts_and_leaves_the_traffic(
    served: Stage,
) -> None:
    served.controller().promote(MODEL, 2, QUICK)
    served.controller().promote(MODEL, 3, QUICK)
    served.world.behaviours[1] = Behaviour(fails=True)
    result = served.controller().rollback(MODEL, 1)
    assert result.outcome == "halted"
    assert "cannot go back to release 1" in result.reason
    assert served.weights == {3: 100}
    assert served.controller().rollback(MODEL, 2).outcome == "rolled-back"
    assert served.weights == {2: 100}


def test_giving_up_a_first_release_rejects_it(stage: Stage) -> None:
    stage.world.behaviours[1] = Behaviour(ready_after_s=3)
    give_up = after(stage, 3, lambda: stage.controller("ann").rollback(MODEL))
    with pytest.raises(FencedError):
        stage.controller(sleep=give_up).promote(MODEL, 1, QUICK)
    assert stage.serving.history[-1].outcome == "rejected"
    assert stage.world.revisions == {}


def test_going_back_does_not_wait_for_a_fleet_or_router_that_does_not_answer(
    served: Stage,
) -> None:
    served.controller().promote(MODEL, 2, QUICK)
    waits: list[float] = []
    served.world.lost_confirmations = 1
    result = served.controller(sleep=waits.append).rollback(MODEL)
    assert result.outcome == "rolled-back"
    assert served.weights == {1: 100}
    assert waits == []


def test_going_back_trusts_no_release_that_vanished_unseen(served: Stage) -> None:
    """The baseline that is to take the traffic meanwhile died with the machine."""
    for release in (2, 3):
        served.controller().promote(MODEL, release, QUICK)

    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        served.controller(sleep=after(served, 6, die)).promote(MODEL, 4, QUICK)
    assert served.weights == {3: 90, 4: 10}
    served.world.vanish(3)
    served.world.calls.clear()
    assert served.controller("ann").rollback(MODEL, 1, "all are bad").outcome == "rolled-back"
    routes = [call for name, call in served.world.calls if name == "route"]
    assert [route.shares for route in routes if isinstance(route, Route)] == [(Share(1, 100),)]
