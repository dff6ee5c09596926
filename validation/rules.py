"""When an estimate passes, fails or decides nothing.

Pass: the upper end of the interval is below the limit. Fail: the lower end is above it.
Between them the data decides nothing, and the check says how much more would. With the default
confidence of 95 % either verdict is wrong with a nominal chance of 2.5 %, the convention for
non-inferiority (ICH E9, section 5.5); `estimate` says how far few, unequal speakers can stretch it.

All checks of a gate must pass, so asking more never raises the chance of a false pass
(an intersection-union test; Berger 1982). A candidate that is certainly worse, but certainly by
less than the margin, passes: that is what the margin was chosen to mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from validation.evidence import Check, rounded
from validation.verdict import Verdict

if TYPE_CHECKING:
    from validation.estimate import Estimate


def judge_limit(name: str, part: str, estimate: Estimate, limit: float) -> Check:
    """Judge a rate of slice `part` against its largest allowed value."""
    return _judge(name, part, estimate, limit, f"the limit {limit:.3%}")


def judge_margin(name: str, part: str, estimate: Estimate, margin: float, baseline: str) -> Check:
    """Judge a paired difference, candidate less `baseline`, against the margin."""
    return _judge(name, part, estimate, margin, f"the margin {margin:.3%} over {baseline}")


def _judge(name: str, part: str, estimate: Estimate, limit: float, bound: str) -> Check:
    low, high = rounded(estimate.low), rounded(estimate.high)
    if high < limit:
        verdict, reason = Verdict.PASS, f"at most {high:.3%}, below {bound}"
    elif low > limit:
        verdict, reason = Verdict.FAIL, f"at least {low:.3%}, above {bound}"
    else:
        verdict, reason = Verdict.INCONCLUSIVE, _undecided(estimate, limit, bound)
    return Check(
        name=name,
        slice=part,
        verdict=verdict,
        reason=f"{name} [{part}]: {reason}",
        value=rounded(estimate.value),
        low=low,
        high=high,
        limit=limit,
        p_value=rounded(estimate.p_value(limit)),
    )


def _undecided(estimate: Estimate, limit: float, bound: str) -> str:
    found = f"{estimate.low:.3%} to {estimate.high:.3%} holds {bound}"
    if estimate.value >= limit:
        return f"{found}; the estimate {estimate.value:.3%} is not below it, so a pass is unlikely"
    more = estimate.more_needed(limit)
    if more is None:
        return f"{found}; the estimate {estimate.value:.3%} is too near for more data to help"
    return (
        f"{found}; if the estimate {estimate.value:.3%} held, about {more.clusters} more clusters "
        f"({more.utterances} utterances) like these would decide"
    )
