"""Engines that fail, vanish or restart, and other controllers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from canary.ports import RevisionState
from registry.errors import ConflictError, LeaseHeldError, UserError
from tests.canary.world import Behaviour

from .stage import MODEL, QUICK, after, always

if TYPE_CHECKING:
    from .stage import Stage


def test_counters_that_cannot_be_read_pause(served: Stage) -> None:
    def blind() -> None:
        if served.weights.get(2) == 10:
            served.world.telemetry_failures = 100

    result = served.controller(sleep=always(served, blind)).promote(MODEL, 2, QUICK)
    assert result.outcome == "paused"
    assert "counters cannot be read" in result.reason
    assert served.weights == {1: 100}


def test_two_promotions_of_one_model_are_refused(served: Stage) -> None:
    refused = []

    def promote_another() -> None:
        for release in (3, 1):
            with pytest.raises((ConflictError, UserError)) as caught:
                served.controller("bob").promote(MODEL, release, QUICK)
            refused.append(str(caught.value))

    result = served.controller(sleep=after(served, 3, promote_another)).promote(MODEL, 2, QUICK)
    assert result.outcome == "settled"
    assert "release 2 is being rolled out" in refused[0]
    with pytest.raises(UserError, match="live already"):
        served.controller().promote(MODEL, 2, QUICK)


def test_a_held_lease_is_respected_until_it_is_over(served: Stage) -> None:
    served.leases.acquire(MODEL, "dead", now=served.world.now, ttl_s=60)
    with pytest.raises(LeaseHeldError):
        served.controller().promote(MODEL, 2, QUICK)
    served.world.sleep(61)
    assert served.controller().promote(MODEL, 2, QUICK).outcome == "settled"


def test_route_writes_that_fail_for_a_while_are_tried_again(served: Stage) -> None:
    served.world.route_write_failures = 3
    assert served.controller().promote(MODEL, 2, QUICK).outcome == "settled"


def test_a_route_that_cannot_be_written_ends_the_rollout_without_traffic_for_the_candidate(
    served: Stage,
) -> None:
    def lose() -> None:
        served.world.route_write_failures = 5

    result = served.controller(sleep=after(served, 1, lose)).promote(MODEL, 2, QUICK)
    assert result.outcome == "rolled-back"
    assert served.weights == {1: 100}


def test_a_router_that_is_gone_halts(served: Stage) -> None:
    served.world.route_write_failures = 100
    result = served.controller().promote(MODEL, 2, QUICK)
    assert result.outcome == "halted"
    served.world.route_write_failures = 0
    assert served.weights == {1: 100}
    assert served.controller().resume(MODEL).outcome == "settled"


def test_a_router_that_restarts_loses_nothing_wrongly(served: Stage) -> None:
    served.world.behaviours[1] = served.world.behaviours[2] = Behaviour(error_share=0.02)
    restarted = after(served, 6, served.world.restart_router)
    result = served.controller(sleep=restarted).promote(MODEL, 2, QUICK)
    assert result.outcome == "settled"


def test_a_machine_that_restarts_in_the_middle_loads_before_it_routes(served: Stage) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    with pytest.raises(Killed):
        served.controller(sleep=after(served, 5, kill)).promote(MODEL, 2, QUICK)
    assert served.weights == {1: 90, 2: 10}
    served.world.vanish()
    served.world.restart_router()
    served.world.calls.clear()
    assert served.controller().resume(MODEL).outcome == "settled"
    changes = [(name, str(call)) for name, call in served.world.calls]
    assert changes[0] == ("start", "1")
    assert changes[1][0] == "route"
    assert changes[2] == ("start", "2")


def test_a_machine_that_restarts_without_a_rollout_serves_again(served: Stage) -> None:
    served.controller().promote(MODEL, 2, QUICK)
    served.world.vanish()
    served.world.restart_router(forget_route=True)
    result = served.controller().resume(MODEL)
    assert result.outcome == "idle"
    assert served.weights == {2: 100}
    assert sorted(served.world.revisions) == [1, 2]
    assert served.world.state(1) is RevisionState.READY


def test_a_live_release_that_will_not_serve_again_calls_a_person(served: Stage) -> None:
    served.world.vanish()
    served.world.behaviours[1] = Behaviour(fails=True)
    result = served.controller().resume(MODEL)
    assert result.outcome == "halted"
    assert "release 1 does not serve" in result.reason


def test_a_candidate_that_vanishes_is_started_and_admitted_again(served: Stage) -> None:
    served.world.requests_per_s = 20  # so few that no block fills up with unanswered requests
    vanished = after(served, 5, lambda: served.world.vanish(2))
    assert served.controller(sleep=vanished).promote(MODEL, 2, QUICK).outcome == "settled"
    assert [call for call in served.world.calls if call[0] == "start"] == [("start", 2)] * 2


def test_a_candidate_that_keeps_vanishing_is_turned_back(served: Stage) -> None:
    def vanish() -> None:
        if served.weights.get(2):
            served.world.vanish(2)

    served.world.requests_per_s = 20
    result = served.controller(sleep=always(served, vanish)).promote(MODEL, 2, QUICK)
    assert result.outcome == "rolled-back"
    assert "gone again" in result.reason


def test_crashes_that_a_supervisor_hides_turn_the_candidate_back(served: Stage) -> None:
    def crash() -> None:
        if served.weights.get(2):
            served.world.revisions[2].restarts += 1

    result = served.controller(sleep=always(served, crash)).promote(MODEL, 2, QUICK)
    assert result.outcome == "rolled-back"
    assert "crashed 3 times" in result.reason
