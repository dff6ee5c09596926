"""The plan of a rollout: the `[rollout]` table of a model's file, checked before anything moves.

A plan says how much traffic a candidate gets, for how long, and how much evidence turns it back.
It is written into the journal when the rollout starts, so editing the file changes no rollout
that is under way.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from canary.ports import SLOW_LIMITS_MS

Metric = Literal["errors", "slow", "sick"]
"""What may turn a candidate back: `errors` and `slow` answers beyond the baseline's rate, and
`sick`, an error share beyond `sick_share` whatever the baseline does."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Table(BaseModel):
    """A table of a settings file: unknown keys are errors, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Step(_Table):
    """Part of the traffic for a while: `weight` percent, at least `hold_s` and `min_requests`.

    `min_requests` counts the candidate's own answers in this step.
    """

    weight: int = Field(ge=1, le=100)
    hold_s: Seconds = 0.0
    min_requests: int = Field(default=0, ge=0)


class RolloutPlan(_Table):
    """How a candidate takes over from a baseline. A first release needs no steps and uses none."""

    steps: tuple[Step, ...] = (
        Step(weight=5, hold_s=60, min_requests=200),
        Step(weight=25, hold_s=60, min_requests=500),
        Step(weight=50, hold_s=60, min_requests=1000),
        Step(weight=100),
    )
    alpha: float = Field(default=0.01, gt=0, lt=0.5)
    """The chance of rolling back a candidate that is as good, over all metrics and all looks."""
    alpha_split: dict[Metric, float] = {"errors": 0.5, "slow": 0.4, "sick": 0.1}
    """Each metric's part of alpha; a metric that is left out is not tested."""
    slow_ms: int = 1000
    """An answer that takes longer is slow."""
    sick_share: float = Field(default=0.5, gt=0, lt=1)
    """A release with more errors than this share is sick, with no need to compare."""
    margin: float = Field(default=2.0, gt=1, allow_inf_nan=False)
    """Rate ratio that counts as harm when evidence of *no* harm is asked for."""
    requests_per_session: int = Field(default=1, ge=1)
    """The most requests of one session that may fail together; more makes every test slower."""
    bake_s: Seconds = 600.0
    """How long the baseline stays loaded, and is watched against, after the last step."""
    no_traffic_s: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    """Pause when no block of requests was completed for so long."""
    tick_s: float = Field(default=0.25, ge=0.01, le=60)
    """Seconds between two looks."""
    load_timeout_s: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    keep_previous: bool = True
    """Keep the release before the live one loaded after the rollout, so going back is instant."""

    @field_validator("slow_ms")
    @classmethod
    def _slow_ms_is_counted(cls, value: int) -> int:
        if value not in SLOW_LIMITS_MS:
            allowed = ", ".join(map(str, SLOW_LIMITS_MS))
            raise ValueError(f"{value} ms is not counted by the router; use one of {allowed}")
        return value

    @field_validator("alpha_split")
    @classmethod
    def _split_adds_to_one(cls, value: dict[Metric, float]) -> dict[Metric, float]:
        if any(not 0 <= part <= 1 for part in value.values()):
            raise ValueError("each part of alpha_split must lie between 0 and 1")
        total = math.fsum(value.values())
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise ValueError(f"the parts of alpha_split add to {total:g}; they must add to 1")
        return value

    @model_validator(mode="after")
    def _steps_grow_to_the_whole(self) -> Self:
        weights = [step.weight for step in self.steps]
        if not weights or weights[-1] != 100:
            raise ValueError("the last step must have weight 100, or the rollout never ends")
        for before, after in pairwise(weights):
            if after <= before:
                raise ValueError(f"weights must grow from step to step; {after} follows {before}")
        if self.steps[-1].min_requests:
            raise ValueError(
                "the last step has no baseline traffic to compare with, so it takes no "
                "min_requests; set bake_s to watch it longer"
            )
        return self

    def alpha_of(self, metric: Metric) -> float:
        """The metric's own part of the budget, 0 when it is not tested."""
        return self.alpha * self.alpha_split.get(metric, 0.0)
