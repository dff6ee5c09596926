"""When an estimate passes, fails or decides nothing.

Pass: the worse end of the interval is within the limit. Fail: the claim "it is beyond the limit"
holds even after correction for the number of such claims. Between them the data decides nothing,
and the check says how much more would. With the default confidence of 95 % either verdict is wrong
with a nominal chance of 2.5 %, the convention for non-inferiority (ICH E9, section 5.5);
`estimate` says how far few, unequal speakers can stretch it.

All checks of a gate must pass, so asking more never raises the chance of a false pass
(an intersection-union test; Berger 1982): passes need no correction. One false fail refuses the
whole gate, so fails do. A candidate that is certainly worse, but certainly by less than the margin,
passes: that is what the margin was chosen to mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from validation.evidence import Check, rounded
from validation.verdict import Verdict

if TYPE_CHECKING:
    from validation.estimate import Estimate
    from validation.measures import Better
    from validation.policy import GatePolicy
    from validation.power import Power


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of one slice: the metric, or its difference to `baseline`, within `bound`.

    `bound` is a limit or a floor in the metric's unit; with a baseline it is a margin, positive.
    """

    metric: str
    part: str
    bound: float
    baseline: str = ""
    better: Better = "lower"
    unit: str = ""

    @property
    def name(self) -> str:
        """Of the check."""
        return f"{self.metric}{OVER}{self.baseline}" if self.baseline else self.metric

    @property
    def sign(self) -> int:
        """1 where lower is better, -1 where higher is: turns values so that lower is better."""
        return 1 if self.better == "lower" else -1

    @property
    def limit(self) -> float:
        """The bound as estimates have it: lower is better."""
        return self.bound if self.baseline else self.sign * self.bound

    def check(self, verdict: Verdict, reason: str, **numbers: object) -> Check:
        """The answer."""
        return Check(
            name=self.name,
            slice=self.part,
            verdict=verdict,
            reason=f"{self.name} [{self.part}]: {reason}",
            metric=self.metric,
            baseline=self.baseline,
            better=self.better,
            unit=self.unit,
            **numbers,  # type: ignore[arg-type] # by the names of Check
        )

    def text(self, value: float) -> str:
        """`value` of an estimate, in the metric's own direction and unit."""
        own = self.sign * value
        signed = "+" if self.baseline else ""
        return f"{own:{signed}.3%}" if self.unit == "share" else f"{own:{signed}.4g} {self.unit}"

    @property
    def bound_text(self) -> str:
        """The bound in words."""
        if self.baseline:
            return f"the margin {self.text(self.limit)} over {self.baseline}"
        return f"the {'limit' if self.better == 'lower' else 'floor'} {self.text(self.limit)}"


OVER = "_over_"
"""Parts the metric from the baseline in the name of a margin's check."""


def judge(
    question: Question,
    estimate: Estimate,
    *,
    adjusted_p: float,
    power: Power,
    policy: GatePolicy,
) -> Check:
    """Answer the question. `adjusted_p` is of "beyond the limit"."""
    limit = question.limit
    high, worse = rounded(estimate.high), question.text(estimate.high)
    most, least = ("at most", "at least") if question.sign > 0 else ("at least", "at most")
    if adjusted_p <= estimate.tail and rounded(estimate.low) > limit:
        verdict = Verdict.FAIL
        reason = f"{least} {question.text(estimate.low)}, beyond {question.bound_text}"
    elif high >= limit:
        verdict, reason = Verdict.INCONCLUSIVE, _undecided(question, estimate, power, policy.power)
    elif question.baseline and high >= 0 and (power.passes_if_equal or 0.0) < policy.min_power:
        verdict = Verdict.INCONCLUSIVE
        too_small = _too_small(question, power, policy.power)
        reason = f"{most} {worse}, within {question.bound_text}, but only by luck: {too_small}"
    else:
        verdict, reason = Verdict.PASS, f"{most} {worse}, within {question.bound_text}"
    low, high = sorted(rounded(question.sign * end) for end in (estimate.low, estimate.high))
    return question.check(
        verdict,
        reason,
        value=rounded(question.sign * estimate.value),
        low=low,
        high=high,
        limit=question.sign * limit,
        p_value=rounded(estimate.p_value(limit)),
        adjusted_p=rounded(adjusted_p),
        power=power,
    )


def _undecided(question: Question, estimate: Estimate, power: Power, enough: float) -> str:
    ends = sorted((estimate.low, estimate.high), key=lambda end: question.sign * end)
    found = f"{question.text(ends[0])} to {question.text(ends[1])}"
    if rounded(estimate.low) > question.limit:
        return f"{found} is beyond {question.bound_text}, but not after correction for all slices"
    found += f" holds {question.bound_text}"
    if not question.baseline and estimate.value >= question.limit:
        value = question.text(estimate.value)
        return f"{found}; the estimate {value} is not within it, so a pass is unlikely"
    return f"{found}; {_too_small(question, power, enough)}"


def _too_small(question: Question, power: Power, enough: float) -> str:
    chance = power.passes_if_equal or 0.0
    who = f"one equal to {question.baseline}" if question.baseline else "one truly at the estimate"
    passes = f"{who} passes on such a set with {chance:.0%}"
    needed = f"{power.clusters_needed} clusters ({power.utterances_needed} utterances)"
    if power.clusters_needed is None:
        return f"{passes}, and no amount of such data would do"
    if chance >= enough:
        return f"{passes}, so the set is large enough, and this one is not shown to be equal"
    return f"{passes}; about {needed} would do"
