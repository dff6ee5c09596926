"""Whole rollouts in the in-memory world: the good way, and every way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from canary.ports import Route
from canary.rollout import RolloutPlan, Step
from registry.errors import UserError
from tests.canary.world import Behaviour

from .stage import MODEL, QUICK, after, always

if TYPE_CHECKING:
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
    assert {release for *_, release in served.aliases} == {1}


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


def test_much_traffic_writes_few_entries(served: Stage) -> None:
    served.world.requests_per_s = 20_000
    before = len(served.entries())
    plan = QUICK.model_copy(update={"bake_s": 120.0})
    assert served.controller().promote(MODEL, 2, plan).outcome == "settled"
    assert len(served.entries()) - before < 150


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
