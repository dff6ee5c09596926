"""Whole rollouts in the in-memory world: the good way, and every way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from canary.ports import RevisionState, Route, Share
from canary.rollout import RolloutPlan, Step
from registry.errors import ConflictError, FencedError, LeaseHeldError, UserError
from registry.lease import Leases
from tests.canary.world import Behaviour

from .stage import MODEL, QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from .stage import Stage


def test_a_first_release_serves_everything_without_steps(stage: Stage) -> None:
    result = stage.controller().promote(MODEL, 1, QUICK)
    assert result.outcome == "settled"
    assert stage.weights == {1: 100}
    assert stage.serving.live == 1
    assert stage.aliases == [(MODEL, "production", 1)]
    assert [name for name, _ in stage.world.calls] == ["start", "route"]


def test_a_good_candidate_takes_over_step_by_step(served: Stage) -> None:
    result = served.controller().promote(MODEL, 2, QUICK)
    assert result.outcome == "settled"
    routes = [call for name, call in served.world.calls if name == "route"]
    weights = [route.weight_of(2) for route in routes if isinstance(route, Route)]
    assert weights == [10, 50, 100]
    assert served.serving.live == 2
    assert served.serving.warm == (1, 2)
    assert served.world.unanswered == 0
    assert served.aliases == [(MODEL, "production", 2)]
    rules = [entry.body["rule"] for entry in served.entries() if entry.kind == "decided"]
    assert "no evidence of harm after time and volume" in rules


def test_only_the_release_before_stays_loaded(served: Stage) -> None:
    served.controller().promote(MODEL, 2, QUICK)
    served.controller().promote(MODEL, 3, QUICK)
    assert served.serving.warm == (2, 3)
    assert sorted(served.world.revisions) == [2, 3]
    alone = QUICK.model_copy(update={"keep_previous": False})
    served.controller().promote(MODEL, 4, alone)
    assert sorted(served.world.revisions) == [4]


def test_more_errors_turn_the_candidate_back(served: Stage) -> None:
    served.world.behaviours[1] = Behaviour(error_share=0.01)
    served.world.behaviours[2] = Behaviour(error_share=0.3)
    result = served.controller().promote(MODEL, 2, QUICK)
    assert result.outcome == "rolled-back"
    assert "more errors than the baseline" in result.reason
    changes = [name for name, _ in served.world.calls]
    assert changes == ["start", "route", "route", "stop"]
    assert served.weights == {1: 100}
    assert served.serving.live == 1
    assert served.serving.withdrawn == {2}
    ended = served.serving.history[-1]
    assert ended.first_evidence_at is not None
    assert ended.decided_at is not None
    assert ended.started_at < ended.first_evidence_at <= ended.decided_at <= ended.ended_at
    assert served.aliases == []


def test_slow_answers_turn_the_candidate_back(served: Stage) -> None:
    served.world.behaviours[2] = Behaviour(slow_share=0.4)
    result = served.controller().promote(MODEL, 2, QUICK)
    assert result.outcome == "rolled-back"
    assert "over 1000 ms" in result.reason


def test_a_candidate_that_does_not_load_is_rejected_before_traffic(served: Stage) -> None:
    served.world.behaviours[2] = Behaviour(fails=True)
    result = served.controller().promote(MODEL, 2, QUICK)
    assert result.outcome == "rejected"
    assert "does not load" in result.reason
    assert [name for name, _ in served.world.calls] == ["start", "stop"]
    assert served.serving.live == 1


def test_a_candidate_that_differs_is_rejected_with_the_check(served: Stage) -> None:
    served.world.behaviours[2] = Behaviour(unfit=True)
    result = served.controller().promote(MODEL, 2, QUICK)
    assert result.outcome == "rejected"
    assert "golden: 3 of 8 answers differ" in result.reason


def test_a_candidate_that_loads_too_long_is_rejected(served: Stage) -> None:
    served.world.behaviours[2] = Behaviour(ready_after_s=60)
    result = served.controller().promote(MODEL, 2, QUICK)
    assert result.outcome == "rejected"
    assert "not ready within 5 s" in result.reason


def test_a_first_release_that_fails_leaves_nothing(stage: Stage) -> None:
    stage.world.behaviours[1] = Behaviour(fails=True)
    assert stage.controller().promote(MODEL, 1, QUICK).outcome == "rejected"
    assert stage.world.revisions == {}
    assert stage.serving.live is None


def test_a_crash_of_the_candidate_turns_it_back_at_once(served: Stage) -> None:
    crashed = after(served, 3, lambda: served.world.fail(2))
    result = served.controller(sleep=crashed).promote(MODEL, 2, QUICK)
    assert result.outcome == "rolled-back"
    assert "killed by signal 9" in result.reason
    assert served.weights == {1: 100}


def test_a_crash_while_baking_goes_back_too(served: Stage) -> None:
    def crash() -> None:
        if served.weights == {2: 100}:
            served.world.fail(2)

    result = served.controller(sleep=always(served, crash)).promote(MODEL, 2, QUICK)
    assert result.outcome == "rolled-back"
    assert served.weights == {1: 100}
    assert served.serving.live == 1
    assert [release for _, _, release in served.aliases] == [2, 1]


def test_errors_while_baking_go_back_too(served: Stage) -> None:
    def break_it() -> None:
        if served.weights == {2: 100}:
            served.world.behaviours[2] = Behaviour(error_share=0.9)

    result = served.controller(sleep=always(served, break_it)).promote(MODEL, 2, QUICK)
    assert result.outcome == "rolled-back"
    assert "beyond 50%" in result.reason


def test_a_sick_baseline_halts_and_moves_nothing(served: Stage) -> None:
    crashed = after(served, 3, lambda: served.world.fail(1))
    result = served.controller(sleep=crashed).promote(MODEL, 2, QUICK)
    assert result.outcome == "halted"
    assert served.weights == {1: 90, 2: 10}
    assert sorted(served.world.revisions) == [1, 2]
    assert served.controller().rollback(MODEL).outcome == "rolled-back"
    assert served.weights == {1: 100}


def test_a_baseline_that_only_errs_halts(served: Stage) -> None:
    served.world.behaviours[1] = Behaviour(error_share=0.95)
    result = served.controller().promote(MODEL, 2, QUICK)
    assert result.outcome == "halted"
    assert "the candidate may be the healthier one" in result.reason


def test_no_traffic_pauses_and_says_how_much_more(served: Stage) -> None:
    served.world.requests_per_s = 0
    result = served.controller().promote(MODEL, 2, QUICK)
    assert result.outcome == "paused"
    assert "needs 50 more answers of release 2 (about 500 requests at 10 %)" in result.reason
    assert served.weights == {1: 100}
    assert sorted(served.world.revisions) == [1, 2]
    served.world.requests_per_s = 400
    assert served.controller().resume(MODEL).outcome == "settled"


def test_counters_that_cannot_be_read_pause(served: Stage) -> None:
    def blind() -> None:
        if served.weights.get(2) == 10:
            served.world.telemetry_failures = 100

    result = served.controller(sleep=always(served, blind)).promote(MODEL, 2, QUICK)
    assert result.outcome == "paused"
    assert "counters cannot be read" in result.reason
    assert served.weights == {1: 100}


def test_a_person_pauses_and_resumes(served: Stage) -> None:
    asked = after(served, 3, lambda: served.controller("ann").request_pause(MODEL, "lunch"))
    result = served.controller(sleep=asked).promote(MODEL, 2, QUICK)
    assert (result.outcome, result.reason) == ("paused", "lunch")
    assert served.weights == {1: 100}
    assert served.controller().run(MODEL).outcome == "paused"
    assert served.controller().resume(MODEL).outcome == "settled"
    assert served.weights == {2: 100}


def test_pausing_nothing_is_refused(served: Stage) -> None:
    with pytest.raises(UserError, match="nothing to pause"):
        served.controller().request_pause(MODEL)


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
    Leases(served.journal).acquire(MODEL, "dead", now=served.world.now, ttl_s=60)
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
    served.world.requests_per_s = 100  # so few that no block fills up with unanswered requests
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


def test_little_traffic_may_pass_by_evidence_of_no_harm(served: Stage) -> None:
    """Few answers, but enough events on both sides to rule harm beyond the margin out."""
    served.world.behaviours[1] = Behaviour(error_share=0.4)
    served.world.behaviours[2] = Behaviour(error_share=0.05)
    steps = (Step(weight=50, hold_s=1, min_requests=100_000), Step(weight=100))
    plan = RolloutPlan(steps=steps, bake_s=1, alpha_split={"errors": 1.0})
    assert served.controller().promote(MODEL, 2, plan).outcome == "settled"
    rules = [entry.body["rule"] for entry in served.entries() if entry.kind == "decided"]
    assert "evidence of no harm beyond the margin" in rules


def test_people_are_told_what_matters_in_order(served: Stage) -> None:
    served.controller().promote(MODEL, 2, QUICK)
    assert served.lines[:2] == ["release 1 gets 100 %", "loading release 2"]
    assert "release 1 gets 90 %, release 2 gets 10 %" in served.lines
    assert served.lines[-1] == "rollout settled"


def after(stage: Stage, ticks: int, act: Callable[[], object]) -> Callable[[float], None]:
    """A sleep that calls `act` once, before the given tick."""
    calls = [0]

    def sleep(seconds: float) -> None:
        calls[0] += 1
        if calls[0] == ticks:
            act()
        stage.world.sleep(seconds)

    return sleep


def always(stage: Stage, act: Callable[[], object]) -> Callable[[float], None]:
    """A sleep that calls `act` each time."""

    def sleep(seconds: float) -> None:
        act()
        stage.world.sleep(seconds)

    return sleep
