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
        ([{"weight": 0}, LAST], "greater than or equal to 1"),
        ([{"weight": 5}, {"weight": 101}], "less than or equal to 100"),
        ([{"weight": 5, "hold_s": -1}, LAST], "greater than or equal to 0"),
        ([{"weight": 5, "hold_s": float("nan")}, LAST], "finite number"),
        ([{"weight": 5}, {"weight": 100, "min_requests": 5}], "set bake_s"),
        ([{"weight": 5, "hold": 1}, LAST], "Extra inputs"),
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
        ({"alpha_split": {"latency": 1.0}}, "'errors', 'slow' or 'sick'"),
        ({"slow_ms": 123}, "123 ms is not counted by the router; use one of 10, 25"),
        ({"margin": 1}, "greater than 1"),
        ({"tick_s": 0}, "greater than or equal to 0.01"),
        ({"speed": 3}, "Extra inputs"),
    ],
)
def test_values(values: dict[str, Any], says: str) -> None:
    assert says in refusal(**values)


def test_alpha_is_shared_out_and_a_metric_left_out_gets_none() -> None:
    plan = RolloutPlan(alpha=0.02, alpha_split={"errors": 0.75, "slow": 0.25})
    assert plan.alpha_of("errors") == pytest.approx(0.015)
    assert plan.alpha_of("slow") == pytest.approx(0.005)
    assert plan.alpha_of("sick") == 0


def test_plans_do_not_change() -> None:
    with pytest.raises(ValidationError):
        RolloutPlan().steps[0].weight = 7
    assert Step(weight=7) == Step(weight=7)
