"""Shadow and manual steps, the cap, skipping, replacing, and first releases, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from canary.ports import Mirror, Route, Share
from canary.rollout import RolloutPlan, Step
from registry.errors import ConflictError, FencedError, UserError
from tests.canary.world import Behaviour

from .stage import MODEL, QUICK, after, always

if TYPE_CHECKING:
    from collections.abc import Callable

    from .stage import Stage

SHADOWED = RolloutPlan(
    steps=(
        Step(shadow=50, hold_s=1, min_pairs=100),
        Step(weight=50, hold_s=1, min_requests=50),
        Step(weight=100),
    ),
    bake_s=1,
    no_traffic_s=10,
    load_timeout_s=5,
    patience_s=20,
)


def with_steps(*steps: Step, **changes: Any) -> RolloutPlan:
    return SHADOWED.model_copy(update={"steps": (*steps, Step(weight=100)), **changes})


def routes(stage: Stage) -> list[Route]:
    return [call for name, call in stage.world.calls if isinstance(call, Route) and name == "route"]


def rules(stage: Stage) -> list[str]:
    return [
        entry.body["rule"]
        for entry in stage.entries()
        if entry.kind == "decided" and entry.body["decision"] in ("advance", "promote")
    ]


def test_a_shadow_step_copies_and_gives_no_traffic(served: Stage) -> None:
    assert served.controller().promote(MODEL, 2, SHADOWED).outcome == "settled"
    first, *others = routes(served)
    assert first.shares == (Share(1, 100),)
    assert first.mirror == Mirror(2, 50)
    assert [(route.weight_of(2), route.mirror) for route in others] == [(50, None), (100, None)]
    assert "release 1 gets 100 %, release 2 gets copies of 50 %" in served.lines
    assert rules(served)[0] == "no evidence of harm after time and volume"


def test_bad_answers_to_copies_reject_before_any_traffic(served: Stage) -> None:
    served.world.behaviours[2] = Behaviour(empty_share=0.3)
    result = served.controller().promote(MODEL, 2, SHADOWED)
    assert result.outcome == "rejected"
    assert "on the same inputs" in result.reason
    assert all(not route.weight_of(2) for route in routes(served))
    assert served.weights == {1: 100}
    assert served.serving.mirror is None
    assert sorted(served.world.revisions) == [1]
    assert served.serving.withdrawn == frozenset()


def test_the_journal_keeps_counts_of_pairs_and_no_texts(served: Stage) -> None:
    served.controller().promote(MODEL, 2, SHADOWED)
    bodies = [entry.body for entry in served.entries() if entry.kind == "decided"]
    seen = [body["observation"]["pairs"] for body in bodies if "pairs" in body["observation"]]
    assert sum(one["pairs"] for one in seen) >= 100
    assert "same" not in str(seen)
    assert bodies[-1]["evidence"]["pairs"]["pairs"] >= 100


def test_a_shadow_step_until_evidence_goes_on_by_evidence(served: Stage) -> None:
    plan = with_steps(Step(shadow=100, until="evidence", hold_s=1))
    assert served.controller().promote(MODEL, 2, plan).outcome == "settled"
    assert rules(served) == ["evidence of no harm beyond the margin"]
    assert "0.02 is ruled out" in next(line for line in served.lines if "promote" in line)


def test_without_copies_a_shadow_step_pauses_and_says_how_many_pairs_are_missing(
    served: Stage,
) -> None:
    served.world.requests_per_s = 0
    result = served.controller().promote(MODEL, 2, SHADOWED)
    assert result.outcome == "paused"
    assert "needs 100 more requests answered by both (about 200 at 50 % copied)" in result.reason
    assert served.world.route is not None
    assert served.world.route.mirror is None
    served.world.requests_per_s = 400
    assert served.controller().resume(MODEL).outcome == "settled"


def test_a_candidate_that_dies_on_copies_is_rejected(served: Stage) -> None:
    crashed = after(served, 3, lambda: served.world.fail(2))
    result = served.controller(sleep=crashed).promote(MODEL, 2, SHADOWED)
    assert result.outcome == "rejected"
    assert served.weights == {1: 100}


def test_evidence_that_does_not_come_pauses_instead_of_waiting_for_ever(served: Stage) -> None:
    plan = with_steps(Step(weight=50, until="evidence", min_requests=10))
    result = served.controller().promote(MODEL, 2, plan)
    assert result.outcome == "paused"
    reason = (
        "undecided for 20 s; harm beyond the margin must be ruled out: the evidence is 1 of 100"
    )
    assert result.reason == reason


def test_no_step_beyond_the_cap_without_evidence(served: Stage) -> None:
    plan = with_steps(Step(weight=10), Step(weight=50), cap=10)
    result = served.controller().promote(MODEL, 2, plan)
    assert result.outcome == "paused"
    assert "to go beyond 10 %" in result.reason
    assert max(route.weight_of(2) for route in routes(served)) == 10


def test_evidence_from_pairs_lifts_the_cap(served: Stage) -> None:
    shadow = Step(shadow=100, until="evidence", hold_s=1)
    plan = with_steps(shadow, Step(weight=50, min_requests=10), cap=0)
    assert served.controller().promote(MODEL, 2, plan).outcome == "settled"
    assert rules(served) == ["evidence of no harm beyond the margin"] * 2


MANUAL = with_steps(Step(weight=50, hold_s=1, manual=True, who=("ann", "leads")))


def waiting(stage: Stage, act: Callable[[], object]) -> Callable[[float], None]:
    """A sleep that calls `act` each time that the rollout waits for a person."""

    def look() -> None:
        rollout = stage.serving.rollout
        if rollout is not None and rollout.waits and not rollout.approved_by:
            act()

    return always(stage, look)


def test_a_manual_step_waits_for_one_of_those_it_names(served: Stage) -> None:
    told: list[object] = []

    def ask() -> None:
        told.append(served.serving.rollout)
        with pytest.raises(UserError, match="waits for ann or leads, not for bob"):
            served.controller("bob").resume(MODEL)
        if len(told) == 3:
            result = served.controller("ann@desk").resume(MODEL)
            assert result.outcome == "under-way"

    controller = served.controller(sleep=waiting(served, ask))
    assert controller.promote(MODEL, 2, MANUAL).outcome == "settled"
    assert len(told) == 3
    holds = [e.body for e in served.entries() if e.body.get("rule") == "waits for a person"]
    assert {body["decision"] for body in holds} == {"hold"}
    assert served.weights == {2: 100}
    assert "ann@desk let it go on" in next(line for line in served.lines if "promote" in line)


def test_a_role_may_let_it_go_on_and_is_written_down(served: Stage) -> None:
    def approve() -> None:
        served.controller("bob", roles=lambda actor, _: ["leads"] if actor == "bob" else []).resume(
            MODEL
        )

    controller = served.controller(sleep=waiting(served, approve))
    assert controller.promote(MODEL, 2, MANUAL).outcome == "settled"
    asked = [e for e in served.entries() if e.kind == "resume-requested"]
    assert [(e.actor, e.body["role"]) for e in asked] == [("bob", "leads")]


def test_harm_turns_back_while_a_person_is_waited_for(served: Stage) -> None:
    def break_it() -> None:
        served.world.behaviours[2] = Behaviour(error_share=0.5)

    controller = served.controller(sleep=waiting(served, break_it))
    assert controller.promote(MODEL, 2, MANUAL).outcome == "rolled-back"


def test_a_step_is_skipped_with_a_reason_and_a_name(served: Stage) -> None:
    plan = with_steps(Step(weight=10, hold_s=1000), Step(weight=50))

    def skip() -> None:
        assert served.controller("ann").skip(MODEL, "seen enough").outcome == "under-way"

    controller = served.controller(sleep=after(served, 4, skip))
    assert controller.promote(MODEL, 2, plan).outcome == "settled"
    asked = [e for e in served.entries() if e.kind == "skip-requested"]
    assert [(e.actor, e.body["reason"]) for e in asked] == [("ann", "seen enough")]
    assert served.kinds().count("step-skipped") == 1
    assert [route.weight_of(2) for route in routes(served)] == [10, 50, 100]


def test_a_paused_rollout_goes_on_with_the_step_after_the_skipped_one(served: Stage) -> None:
    served.world.requests_per_s = 0
    assert served.controller().promote(MODEL, 2, SHADOWED).outcome == "paused"
    served.world.requests_per_s = 400
    assert served.controller("ann").skip(MODEL, "no copies here").outcome == "settled"
    assert [route.weight_of(2) for route in routes(served)][-2:] == [50, 100]


def test_skipping_is_refused_without_reason_step_or_right(served: Stage) -> None:
    with pytest.raises(UserError, match="nothing to skip"):
        served.controller().skip(MODEL, "why not")
    with pytest.raises(UserError, match="needs a reason"):
        served.controller().skip(MODEL, " ")

    def refused() -> None:
        with pytest.raises(UserError, match="not for bob"):
            served.controller("bob").skip(MODEL, "in a hurry")
        served.controller("ann").skip(MODEL, "it is fine")

    controller = served.controller(sleep=waiting(served, refused))
    assert controller.promote(MODEL, 2, MANUAL).outcome == "settled"


def test_abort_rolls_back_only_what_is_under_way(served: Stage) -> None:
    with pytest.raises(UserError, match="nothing to abort"):
        served.controller().abort(MODEL)
    abort = after(served, 4, lambda: served.controller("ann").abort(MODEL, "complaints"))
    with pytest.raises(FencedError):
        served.controller(sleep=abort).promote(MODEL, 2, QUICK)
    assert served.serving.history[-1].outcome == "rolled-back"
    assert served.serving.history[-1].reason == "complaints"


def test_a_second_promotion_may_replace_the_first(served: Stage) -> None:
    results = []

    def replace() -> None:
        controller = served.controller("ann")
        for release, error in ((2, ConflictError), (1, UserError)):
            with pytest.raises(error):
                controller.promote(MODEL, release, QUICK, replace=True)
        results.append(controller.promote(MODEL, 3, QUICK, replace=True))

    with pytest.raises(FencedError):
        served.controller(sleep=after(served, 5, replace)).promote(MODEL, 2, QUICK)
    assert [result.outcome for result in results] == ["settled"]
    ended = served.serving.history[-2:]
    assert [(one.candidate, one.outcome) for one in ended] == [(2, "rolled-back"), (3, "settled")]
    assert ended[0].reason == "replaced by release 3"
    assert served.weights == {3: 100}


def test_a_replacement_that_cannot_roll_back_starts_nothing(served: Stage) -> None:
    def replace() -> None:
        served.world.fail(1)
        served.world.behaviours[1] = Behaviour(fails=True)
        result = served.controller("ann").promote(MODEL, 3, QUICK, replace=True)
        assert result.outcome == "halted"

    with pytest.raises(FencedError):
        served.controller(sleep=after(served, 5, replace)).promote(MODEL, 2, QUICK)
    rollout = served.serving.rollout
    assert rollout is not None
    assert rollout.candidate == 2


def test_a_baseline_that_is_held_back_is_compared_with_while_baking(served: Stage) -> None:
    plan = QUICK.model_copy(update={"holdback": 10, "retry_to_baseline": True})

    def break_it() -> None:
        if served.weights == {1: 10, 2: 90}:
            served.world.behaviours[2] = Behaviour(error_share=0.2)

    result = served.controller(sleep=always(served, break_it)).promote(MODEL, 2, plan)
    assert result.outcome == "rolled-back"
    assert "more errors than the baseline" in result.reason
    assert [route.retry_to for route in routes(served)] == [1, 1, 1, None]
    served.world.behaviours[2] = Behaviour()
    assert served.controller().promote(MODEL, 2, plan).outcome == "settled"
    assert served.weights == {2: 100}


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (Behaviour(error_share=0.9), "errors beyond 50%"),
        (Behaviour(slow_share=0.9), "more than 50% of its answers take over 1000 ms"),
    ],
)
def test_a_first_release_is_judged_by_absolute_limits(
    stage: Stage, behaviour: Behaviour, says: str
) -> None:
    stage.world.behaviours[1] = behaviour
    result = stage.controller().promote(MODEL, 1, QUICK)
    assert result.outcome == "halted"
    assert says in result.reason
    assert "no release to go back to" in result.reason
    last = [entry.body for entry in stage.entries() if entry.kind == "decided"][-1]
    assert last["rule"] == "absolute limits"


def test_a_first_release_that_halted_is_looked_at_again_or_replaced(stage: Stage) -> None:
    stage.world.behaviours[1] = Behaviour(error_share=0.9)
    assert stage.controller().promote(MODEL, 1, QUICK).outcome == "halted"
    assert stage.controller().resume(MODEL).outcome == "halted"
    with pytest.raises(ConflictError):
        stage.controller().promote(MODEL, 2, QUICK)
    result = stage.controller("ann").promote(MODEL, 2, QUICK, replace=True)
    assert result.outcome == "halted", "the baseline is sick, and nothing can be compared with it"
    assert stage.serving.history[-1].outcome == "settled"
    assert stage.serving.history[-1].reason == "replaced by release 2"
    for _ in range(2):
        result = stage.controller("ann").skip(MODEL, "release 1 is the sick one")
    assert (result.outcome, stage.weights) == ("settled", {2: 100})


def test_a_first_release_that_got_well_settles_when_it_is_resumed(stage: Stage) -> None:
    stage.world.behaviours[1] = Behaviour(error_share=0.9)
    assert stage.controller().promote(MODEL, 1, QUICK).outcome == "halted"
    stage.world.behaviours[1] = Behaviour()
    assert stage.controller().resume(MODEL).outcome == "settled"


def test_a_first_release_within_the_limits_settles(stage: Stage) -> None:
    stage.world.behaviours[1] = Behaviour(error_share=0.3, slow_share=0.3)
    assert stage.controller().promote(MODEL, 1, QUICK).outcome == "settled"


COPIED = with_steps(Step(weight=50, hold_s=1, min_requests=50), standing_copies=20)


def test_standing_copies_go_to_the_release_before_until_the_next_rollout(served: Stage) -> None:
    assert served.controller().promote(MODEL, 2, COPIED).outcome == "settled"
    assert [route.mirror for route in routes(served)] == [None, None, Mirror(1, 20)]
    assert served.weights == {2: 100}
    assert served.serving.mirror == Mirror(1, 20)
    served.world.calls.clear()
    assert served.controller().promote(MODEL, 3, SHADOWED).outcome == "settled"
    copies = [route.mirror for route in routes(served)]
    assert copies == [None, Mirror(3, 50), None, None]
    assert served.serving.mirror is None


def test_a_rollback_and_a_dead_release_before_end_standing_copies(served: Stage) -> None:
    served.controller().promote(MODEL, 2, COPIED)
    served.world.vanish()
    assert served.controller().resume(MODEL).outcome == "idle"
    assert served.serving.mirror == Mirror(1, 20)  # it was started again
    served.world.fail(1)
    assert served.controller().resume(MODEL).outcome == "idle"
    assert (served.serving.mirror, served.weights) == (None, {2: 100})
    assert served.controller().promote(MODEL, 3, COPIED).live == 3
    assert served.controller().rollback(MODEL).live == 2
    assert served.serving.mirror is None


def test_standing_copies_need_somebody_who_can_answer() -> None:
    with pytest.raises(ValidationError, match="standing_copies needs keep_previous"):
        RolloutPlan(keep_previous=False, standing_copies=1)
