"""The plan of a rollout: the `[rollout]` table of a model's file, checked before anything moves.

A plan says how much traffic a candidate gets, for how long, and how much evidence turns it back.
It is written into the journal when the rollout starts, so editing the file changes no rollout
that is under way. New keys have defaults: journals keep plans that do not know them.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from canary.ports import SLOW_LIMITS_MS
from canary.waves_plan import WavePolicy

Metric = Literal["errors", "slow", "sick", "empty", "fallbacks", "pairs"]
"""What may turn a candidate back: `errors`, `slow`, `empty` answers and `fallbacks` beyond the
baseline's rate, `sick`, an error share beyond `sick_share` of a candidate that answers alone, and
`pairs`, bad answers to the same inputs in shadow steps."""

COMPARED: tuple[Metric, ...] = ("errors", "slow")
"""Metrics of traffic that harm beyond the margin can be ruled out for."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Table(BaseModel):
    """A table of a settings file: unknown keys are errors, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Step(_Table):
    """A while with `weight` percent of the traffic, or with `shadow` percent of it copied.

    The answers to copies are thrown away. A step lasts at least `hold_s`, and by `until`
    "volume" until there are `min_requests` answers of the candidate (in a shadow step: `min_pairs`
    requests answered by both) without evidence of harm; "evidence": until harm beyond the margin is
    ruled out. With `manual` somebody of `who` must let the rollout go on from it.
    """

    weight: int = Field(default=0, ge=0, le=100)
    shadow: int = Field(default=0, ge=0, le=100)
    hold_s: Seconds = 0.0
    min_requests: int = Field(default=0, ge=0)
    min_pairs: int = Field(default=0, ge=0)
    until: Literal["volume", "evidence"] = "volume"
    manual: bool = False
    who: tuple[str, ...] = ()
    """People (`ann`, or `ann@host` on that host only) and roles; empty: anybody."""

    @model_validator(mode="after")
    def _is_of_one_sort(self) -> Self:
        if not self.weight and not self.shadow:
            raise ValueError(
                "a step needs `weight` (percent of the traffic) or `shadow` (percent copied), "
                "from 1 to 100"
            )
        if self.weight and self.shadow:
            raise ValueError("answers of a shadow step are thrown away, so it takes no weight")
        if self.shadow and self.min_requests:
            raise ValueError("a shadow step counts pairs: use min_pairs, not min_requests")
        if self.weight and self.min_pairs:
            raise ValueError("pairs come from shadow steps: use min_requests, not min_pairs")
        if self.who and not self.manual:
            raise ValueError("`who` may go on from a step only when it has manual = true")
        return self


class RolloutPlan(_Table, WavePolicy):
    """How a candidate takes over from a baseline. A first release needs no steps and uses none.

    With `ends_with` "return" it is the plan of an experiment: one step below 100 %, or one that
    only copies, which ends `hold_s` after the experiment began, and then everything goes back to
    the baseline.
    """

    steps: tuple[Step, ...] = (
        Step(weight=5, hold_s=60, min_requests=200),
        Step(weight=25, hold_s=60, min_requests=500),
        Step(weight=50, hold_s=60, min_requests=1000),
        Step(weight=100),
    )
    cap: int = Field(default=100, ge=0, le=100)
    """No step has more weight than this before harm beyond the margin is ruled out."""
    alpha: float = Field(default=0.01, gt=0, lt=0.5)
    """The chance of rolling back a candidate that is as good, over all metrics and all looks."""
    alpha_split: dict[Metric, float] = {
        "errors": 0.4,
        "slow": 0.3,
        "sick": 0.1,
        "empty": 0.05,
        "fallbacks": 0.05,
        "pairs": 0.1,
    }
    """Each metric's part of alpha; a metric that is left out is not tested. Without a shadow step
    the part of `pairs` goes to the others."""
    slow_ms: int = 1000
    """An answer that takes longer is slow."""
    sick_share: float = Field(default=0.5, gt=0, lt=1)
    """A release with more errors than this share is sick, with no need to compare."""
    slow_share: float = Field(default=0.5, gt=0, lt=1)
    """A first release, which nothing can be compared with, may have this share of slow answers."""
    margin: float = Field(default=2.0, gt=1, allow_inf_nan=False)
    """Rate ratio that counts as harm when evidence of *no* harm is asked for."""
    pair_margin: float = Field(default=0.02, gt=0, lt=1)
    """The same for pairs: how much larger the share of bad outputs may be."""
    disagreement_margin: float | None = Field(default=None, gt=0, lt=1)
    """The share of pairs with another text that is harm; none: it is only reported."""
    requests_per_session: int = Field(default=1, ge=1)
    """The most requests of one session that may fail together; more makes every test slower."""
    retry_to_baseline: bool = False
    """Let the baseline answer again what the candidate failed on; the failure still counts."""
    holdback: int = Field(default=0, ge=0, le=50)
    """Percent of the traffic that stays with the baseline while the candidate bakes."""
    bake_s: Seconds = 600.0
    """How long the baseline stays loaded, and is watched against, after the last step."""
    no_traffic_s: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    """Pause when no block of requests was completed for so long."""
    patience_s: float = Field(default=3600.0, gt=0, allow_inf_nan=False)
    """Pause when only a doubt, or evidence that is still missing, holds a step up for so long."""
    tick_s: float = Field(default=0.25, ge=0.01, le=30)
    """Seconds between two looks; the lease, which is renewed at a look, lasts many of them."""
    memory_growth: float = Field(default=4.0, ge=0, allow_inf_nan=False)
    """A candidate whose memory is over so many times what it had when it became ready, and still
    growing, is in trouble; 0 watches no memory."""
    memory_floor_mb: int = Field(default=2048, ge=0)
    """And only when it holds so many MB (of 1,000,000 bytes) more than it had."""
    load_timeout_s: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    keep_previous: bool = True
    """Keep the release before the live one loaded after the rollout, so going back is instant."""
    standing_copies: int = Field(default=0, ge=0, le=100)
    """Percent of the requests that the release before answers too, from the end of this rollout to
    the next. The drift watch counts such pairs, so a case does not begin with nothing."""
    ends_with: Literal["promote", "return"] = "promote"
    """`return` is set by `sluice experiment` and `sluice drift attribute` alone."""
    compares: tuple[Metric, ...] = ()
    """What an experiment tells of, chosen before anything is seen."""

    @field_validator("slow_ms")
    @classmethod
    def _slow_ms_is_counted(cls, value: int) -> int:
        if value not in SLOW_LIMITS_MS:
            allowed = ", ".join(map(str, SLOW_LIMITS_MS))
            raise ValueError(f"{value} ms is not counted by the router; use one of {allowed}")
        return value

    @field_validator("memory_growth")
    @classmethod
    def _memory_grows(cls, value: float) -> float:
        if 0 < value <= 1:
            raise ValueError(
                f"{value:g} times is no growth; give more than 1, or 0 to watch no memory"
            )
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
        if self.returns:
            return self._only_compares()
        weights = [step.weight for step in self.steps]
        if not weights or weights[-1] != 100:
            raise ValueError("the last step must have weight 100, or the rollout never ends")
        for before, after in pairwise(weights):
            if before and not after:
                raise ValueError(f"a shadow step after {before} % comes too late; put it first")
            if after <= before and after:
                raise ValueError(f"weights must grow from step to step; {after} follows {before}")
        last = self.steps[-1]
        if last.min_requests:
            raise ValueError(
                "the last step has no baseline traffic to compare with, so it takes no "
                "min_requests; set bake_s to watch it longer"
            )
        if self.standing_copies and not self.keep_previous:
            raise ValueError("standing_copies needs keep_previous: nobody else could answer them")
        if last.manual or last.until == "evidence":
            raise ValueError("nothing follows the last step; ask for it in the step before")
        return self

    def _only_compares(self) -> Self:
        step = self.steps[0] if len(self.steps) == 1 else Step(weight=100)
        if step.weight == 100 or not step.hold_s or step.manual:
            raise ValueError(
                "an experiment has one step, with a weight from 1 to 99 or a shadow, and hold_s, "
                "its duration"
            )
        return self

    @model_validator(mode="after")
    def _evidence_can_be_had(self) -> Self:
        shadowed = self.has_shadow
        if self.only_copies:
            return self
        if shadowed and not self.alpha_split.get("pairs"):
            raise ValueError("a shadow step is judged by `pairs`; give it a part of alpha_split")
        if math.isclose(self._split_in_use(), 0):
            raise ValueError("alpha_split tests only `pairs`, but no step is a shadow step")
        first = next(step.weight for step in self.steps if step.weight)
        if self.cap < first and not shadowed:
            raise ValueError(
                f"cap = {self.cap} never lets the first step of {first} % begin: only a shadow "
                "step before it could rule harm out"
            )
        compared = any(self.alpha_split.get(metric) for metric in COMPARED)
        waits = any(step.weight and step.until == "evidence" for step in self.steps)
        if not compared and (waits or (self.cap < 100 and not shadowed)):
            raise ValueError(
                "harm can be ruled out only for `errors` and `slow`; give one a part of alpha_split"
            )
        return self

    @property
    def returns(self) -> bool:
        """Whether it is an experiment's, which promotes nothing."""
        return self.ends_with == "return"

    @property
    def only_copies(self) -> bool:
        """Whether nothing but copies is ever sent: whoever asked for them counts the pairs."""
        return self.returns and self.has_shadow

    @property
    def has_shadow(self) -> bool:
        """Whether some of the traffic is copied before any is given."""
        return any(step.shadow for step in self.steps)

    def alpha_of(self, metric: Metric) -> float:
        """The metric's own part of the budget, 0 when it is not tested."""
        if metric == "pairs" and not self.has_shadow:
            return 0.0
        return self.alpha * self.alpha_split.get(metric, 0.0) / self._split_in_use()

    def _split_in_use(self) -> float:
        """What the parts of the metrics that this plan can measure add to."""
        if self.has_shadow:
            return 1.0
        return 1.0 - self.alpha_split.get("pairs", 0.0)
