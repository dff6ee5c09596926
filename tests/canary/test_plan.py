"""A plan is refused before anything moves, in one sentence for each mistake."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from canary.plan import RolloutPlan, Step

LAST = {"weight": 100}


def refusal(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        RolloutPlan.model_validate(values)
    (error,) = caught.value.errors()
    return str(error["msg"])


def test_the_default_plan_is_legal_and_survives_the_journal() -> None:
    plan = RolloutPlan()
    assert RolloutPlan.model_validate(plan.model_dump(mode="json")) == plan
    assert plan.steps[-1].weight == 100


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([], "last step must have weight 100"),
        ([{"weight": 5}], "last step must have weight 100"),
        ([{"weight": 5}, {"weight": 5}, LAST], "5 follows 5"),
        ([{"weight": 50}, {"weight": 20}, LAST], "20 follows 50"),
        ([{"weight": 0}, LAST], "needs `weight`"),
        ([{"weight": 5}, {"weight": 101}], "less than or equal to 100"),
        ([{"weight": 5, "hold_s": -1}, LAST], "greater than or equal to 0"),
        ([{"weight": 5, "hold_s": float("nan")}, LAST], "finite number"),
        ([{"weight": 5}, {"weight": 100, "min_requests": 5}], "set bake_s"),
        ([{"weight": 5, "hold": 1}, LAST], "Extra inputs"),
        ([{"weight": 5}, {"shadow": 10}, LAST], "a shadow step after 5 % comes too late"),
        ([{"weight": 5, "shadow": 10}, LAST], "takes no weight"),
        ([{"shadow": 101}, LAST], "less than or equal to 100"),
        ([{"shadow": 10, "min_requests": 5}, LAST], "use min_pairs"),
        ([{"weight": 10, "min_pairs": 5}, LAST], "use min_requests"),
        ([{"weight": 10, "who": ["ann"]}, LAST], "manual = true"),
        ([{"weight": 10, "until": "monday"}, LAST], "'volume' or 'evidence'"),
        ([{"weight": 10}, {"weight": 100, "manual": True}], "nothing follows the last step"),
        ([{"weight": 10}, {"weight": 100, "until": "evidence"}], "nothing follows the last step"),
        ([{"shadow": 10}], "last step must have weight 100"),
    ],
)
def test_steps(steps: list[dict[str, Any]], says: str) -> None:
    assert says in refusal(steps=steps)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"alpha": 0}, "greater than 0"),
        ({"alpha": 0.5}, "less than 0.5"),
        ({"alpha_split": {"errors": 0.5, "slow": 0.4}}, "add to 0.9; they must add to 1"),
        ({"alpha_split": {}}, "add to 0; they must add to 1"),
        ({"alpha_split": {"errors": 1.5, "slow": -0.5}}, "between 0 and 1"),
        (
            {"alpha_split": {"latency": 1.0}},
            "'errors', 'slow', 'sick', 'empty', 'fallbacks' or 'pairs'",
        ),
        ({"slow_ms": 123}, "123 ms is not counted by the router; use one of 10, 25"),
        ({"margin": 1}, "greater than 1"),
        ({"tick_s": 0}, "greater than or equal to 0.01"),
        ({"speed": 3}, "Extra inputs"),
        ({"cap": 4}, "cap = 4 never lets the first step of 5 % begin"),
        ({"cap": 20, "alpha_split": {"sick": 1.0}}, "can be ruled out only for"),
        ({"alpha_split": {"pairs": 1.0}}, "no step is a shadow step"),
        ({"steps": [{"shadow": 5}, LAST], "alpha_split": {"errors": 1.0}}, "judged by `pairs`"),
        (
            {"steps": [{"weight": 5, "until": "evidence"}, LAST], "alpha_split": {"sick": 1.0}},
            "can be ruled out only for",
        ),
        ({"pair_margin": 1}, "less than 1"),
        ({"holdback": 51}, "less than or equal to 50"),
    ],
)
def test_values(values: dict[str, Any], says: str) -> None:
    assert says in refusal(**values)


def test_alpha_is_shared_out_and_a_metric_left_out_gets_none() -> None:
    plan = RolloutPlan(alpha=0.02, alpha_split={"errors": 0.75, "slow": 0.25})
    assert plan.alpha_of("errors") == pytest.approx(0.015)
    assert plan.alpha_of("slow") == pytest.approx(0.005)
    assert plan.alpha_of("sick") == 0


def test_all_of_alpha_is_spent_whether_or_not_there_is_a_shadow_step() -> None:
    for steps in ((Step(weight=100),), (Step(shadow=10), Step(weight=100))):
        plan = RolloutPlan(steps=steps)
        spent = sum(plan.alpha_of(metric) for metric in plan.alpha_split)
        assert spent == pytest.approx(plan.alpha)
        assert (plan.alpha_of("pairs") > 0) == plan.has_shadow


def test_a_plan_of_an_old_journal_is_read_as_it_was_meant() -> None:
    step = {"weight": 10, "hold_s": 3.0, "min_requests": 10}
    split = {"errors": 0.5, "slow": 0.4, "sick": 0.1}
    last = {"weight": 100, "hold_s": 0.0, "min_requests": 0}
    plan = RolloutPlan.model_validate({"steps": [step, last], "alpha_split": split})
    assert (plan.cap, plan.holdback, plan.retry_to_baseline) == (100, 0, False)
    assert plan.alpha_of("errors") == pytest.approx(0.005)


def test_plans_do_not_change() -> None:
    with pytest.raises(ValidationError):
        RolloutPlan().steps[0].weight = 7
    assert Step(weight=7) == Step(weight=7)
