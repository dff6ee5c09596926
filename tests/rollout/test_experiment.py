"""Experiments: a fixed split for a while, and then everything as it was; in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from canary.experiment import latest_experiment
from canary.explain import explain
from canary.rehearsal import rehearse
from canary.rollout import Outcome, Phase, RolloutPlan, Step, fold
from pipelines.experiment import experiment_plan
from registry.errors import ConflictError, FencedError, IntegrityError, UserError
from tests.canary.world import Behaviour

from .stage import MODEL, Stage, after, always
from .stage import QUICK as USUAL

LASTS_S = 20.0
QUICK = USUAL.model_copy(update={"tick_s": 0.5, "bake_s": 1.0})
PLAN = experiment_plan(QUICK, weight=50, lasts_s=LASTS_S)


@pytest.fixture
def served() -> Stage:
    """Release 1 serves everything. What these tests show needs no disk."""
    stage = Stage.in_memory()
    assert stage.controller().promote(MODEL, 1, QUICK).outcome == "settled"
    stage.aliases.clear()
    stage.world.unanswered = 0
    return stage


def serve_two(stage: Stage) -> None:
    """Release 2 is live and 1 is the one to go back to."""
    assert stage.controller().promote(MODEL, 2, QUICK).outcome == "settled"
    stage.world.calls.clear()


def test_it_ends_in_time_and_promotes_nothing(served: Stage) -> None:
    began = served.world.now
    result = served.controller().promote(MODEL, 2, PLAN)
    assert result.outcome == "compared"
    assert LASTS_S <= served.world.now - began < LASTS_S + 2
    assert served.weights == {1: 100}
    assert sorted(served.world.revisions) == [1]
    serving = served.serving
    assert (serving.live, serving.alias, serving.served) == (1, 1, (1,))
    assert serving.withdrawn == frozenset()
    assert serving.history[-1].outcome is Outcome.COMPARED
    assert {release for *_, release in served.aliases} == {1}
    assert served.world.unanswered == 0


def test_its_candidate_may_be_promoted_afterwards(served: Stage) -> None:
    served.controller().promote(MODEL, 2, PLAN)
    assert served.controller().promote(MODEL, 2, QUICK).outcome == "settled"
    assert (served.serving.live, served.serving.previous) == (2, 1)


def test_the_way_back_ignores_it(served: Stage) -> None:
    serve_two(served)
    served.controller().promote(MODEL, 3, PLAN)
    assert served.serving.previous == 1
    assert sorted(served.world.revisions) == [1, 2]
    assert served.controller().rollback(MODEL).live == 1


def test_the_release_to_go_back_to_stays_so_when_it_is_tried_again(served: Stage) -> None:
    serve_two(served)
    assert served.controller().promote(MODEL, 1, PLAN).outcome == "compared"
    assert (served.serving.live, served.serving.previous) == (2, 1)
    assert sorted(served.world.revisions) == [1, 2]
    assert served.controller().rollback(MODEL).live == 1


def test_harm_turns_the_candidate_back(served: Stage) -> None:
    served.world.behaviours[2] = Behaviour(error_share=0.2)
    result = served.controller().promote(MODEL, 2, PLAN)
    assert result.outcome == "rolled-back"
    assert served.world.now < PLAN.steps[0].hold_s + served.serving.history[-1].started_at
    assert served.serving.withdrawn == frozenset({2})


def test_nights_without_traffic_are_part_of_it(served: Stage) -> None:
    served.world.requests_per_s = 0
    assert served.controller().promote(MODEL, 2, PLAN).outcome == "compared"
    found = latest_experiment(served.entries())
    assert [one.candidate for one in found.compared] == [(0, 0), (0, 0)]
    assert (found.compared[0].interval.low, found.compared[0].interval.high) == (-1, 1)


def test_a_person_ends_it_while_it_is_driven(served: Stage) -> None:
    def stop() -> None:
        result = served.controller("ann").skip(MODEL, "seen enough")
        assert result.outcome == "under-way"

    result = served.controller(sleep=after(served, 20, stop)).promote(MODEL, 2, PLAN)
    assert (result.outcome, result.reason) == ("compared", "ann ended the experiment: seen enough")
    assert served.weights == {1: 100}


@pytest.mark.parametrize("ticks", [1, 20], ids=["loading", "comparing"])
def test_it_can_be_aborted_and_that_is_held_against_nobody(served: Stage, ticks: int) -> None:
    def abort() -> None:
        assert served.controller("ann").abort(MODEL, "no time").outcome == "compared"

    with pytest.raises(FencedError):
        served.controller(sleep=after(served, ticks, abort)).promote(MODEL, 2, PLAN)
    assert served.weights == {1: 100}
    assert served.serving.withdrawn == frozenset()


def test_it_goes_on_after_a_pause_and_still_ends_in_time(served: Stage) -> None:
    def pause() -> None:
        served.controller("ann").request_pause(MODEL)

    began = served.world.now
    paused = served.controller(sleep=after(served, 20, pause)).promote(MODEL, 2, PLAN)
    assert (paused.outcome, served.weights) == ("paused", {1: 100})
    served.world.sleep(5)
    assert served.controller().resume(MODEL).outcome == "compared"
    assert LASTS_S <= served.world.now - began < LASTS_S + 2


def test_one_that_is_paused_can_be_ended(served: Stage) -> None:
    def pause() -> None:
        served.controller("ann").request_pause(MODEL)

    served.controller(sleep=after(served, 20, pause)).promote(MODEL, 2, PLAN)
    assert served.controller().skip(MODEL, "seen enough").outcome == "compared"
    assert served.serving.rollout is None


def test_nobody_promotes_meanwhile(served: Stage) -> None:
    tried = [0]

    def promote() -> None:
        with pytest.raises(ConflictError):
            served.controller("ann").promote(MODEL, 3, QUICK)
        tried[0] += 1

    served.controller(sleep=after(served, 20, promote)).promote(MODEL, 2, PLAN)
    assert tried == [1]
    assert served.controller().promote(MODEL, 3, QUICK, replace=True).outcome == "settled"


def test_what_it_found_is_read_from_the_journal(served: Stage) -> None:
    served.world.behaviours[1] = Behaviour(error_share=0.02, slow_share=0.05)
    served.world.behaviours[2] = Behaviour(error_share=0.02, slow_share=0.01)
    plan = experiment_plan(QUICK, weight=50, lasts_s=60)
    served.controller().promote(MODEL, 2, plan)
    served.controller().promote(MODEL, 3, QUICK)
    found = latest_experiment(served.entries(), model=MODEL)
    assert (found.candidate, found.baseline, found.weight) == (2, 1, 50)
    assert (found.state, found.unit) == ("compared", "session")
    errors, slow = found.compared
    assert 10_000 < errors.candidate[1] < 13_000
    assert errors.interval.low < 0 < errors.interval.high
    assert "the difference of failed sessions lies between -" in errors.sentence
    assert -0.06 < slow.interval.low < slow.interval.high < -0.02
    assert slow.sentence.startswith("the candidate has fewer sessions with an answer over 1000 ms")
    assert found.confidence == "all together at 95 % at any time you look"


def test_it_can_be_read_at_any_moment(served: Stage) -> None:
    widths: list[float] = []
    began = served.world.now

    def look() -> None:
        if served.world.now >= began + 2 * (len(widths) + 1):
            (errors,) = latest_experiment(served.entries()).compared
            widths.append(errors.interval.high - errors.interval.low)

    plan = experiment_plan(QUICK, weight=50, lasts_s=20, metrics=["errors"])
    served.controller(sleep=always(served, look)).promote(MODEL, 2, plan)
    assert len(widths) >= 8
    assert widths[-1] < widths[4] < widths[1]


def test_its_decisions_come_out_the_same(served: Stage) -> None:
    served.controller().promote(MODEL, 2, PLAN)
    told = explain(served.entries())
    assert (told.outcome, told.disagreements) == ("compared", ())
    assert [step.left_by for step in told.steps][-2:] == ["end", "compared"]


def test_it_can_be_rehearsed(served: Stage) -> None:
    rehearsal = rehearse(served.serving, 2, PLAN)
    assert (rehearsal.outcome, rehearsal.least_s) == ("compared", LASTS_S)
    assert "route release 1 50 %, release 2 50 %" in [one.what for one in rehearsal.planned]


def test_there_was_none(served: Stage) -> None:
    with pytest.raises(UserError, match="no experiment yet"):
        latest_experiment(served.entries(), model=MODEL)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weight": 0}, "compares nothing"),
        ({"weight": 100}, "compares nothing"),
        ({"lasts_s": 0}, "duration"),
        ({"metrics": ["sick"]}, "cannot be compared"),
    ],
)
def test_what_compares_nothing_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        experiment_plan(QUICK, **({"weight": 50, "lasts_s": 1.0} | changes))


@pytest.mark.parametrize(
    "steps",
    [
        (Step(weight=50), Step(weight=100)),
        (Step(weight=100, hold_s=1),),
        (Step(weight=50),),
        (Step(weight=50, hold_s=1, manual=True),),
        (Step(shadow=50),),
    ],
)
def test_its_plan_has_one_step_with_an_end(steps: tuple[Step, ...]) -> None:
    with pytest.raises(ValidationError, match="one step"):
        RolloutPlan(steps=steps, ends_with="return")


def test_a_journal_that_promotes_it_is_refused(served: Stage) -> None:
    served.controller().promote(MODEL, 2, PLAN)
    entries = list(served.entries())
    number = next(
        index
        for index, entry in enumerate(entries)
        if entry.body.get("phase") == Phase.SHIFTING.value
    )
    promoted = entries[number].__class__(
        **{
            **{name: getattr(entries[number], name) for name in entries[number].__slots__},
            "body": {"phase": Phase.PROMOTED.value},
        }
    )
    with pytest.raises(IntegrityError, match="promotes an experiment"):
        fold([*entries[:number], promoted])
