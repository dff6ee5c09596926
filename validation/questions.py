"""The questions that a gate asks of scored answers, each answered by one check.

What could not be measured is an error, what is measured on too little is inconclusive, and only
the rest is judged by its interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from validation.estimate import Estimate, estimate_rate
from validation.evidence import Check, rounded
from validation.rules import judge_limit, judge_margin
from validation.scoring import Mismatch, Scores
from validation.slices import WHOLE, Slice
from validation.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from validation.policy import GatePolicy

OVER = "_over_"
"""Parts the metric from the baseline in the name of a margin's check."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that the checks look at.

    `baselines` are "parent" and "production", as far as their answers were given.
    """

    policy: GatePolicy
    slices: tuple[Slice, ...]
    candidate: Scores
    baselines: Mapping[str, Scores | Mismatch]


def quality_checks(case: Case) -> Iterator[Check]:
    """Every check of answers that were given, the engine's failures first."""
    yield _failed_check(case)
    asked = list(_limit_checks(case))
    for name in _compared(case.policy):
        asked += _margin_checks(case, name)
    yield from asked or [
        error_check("quality", "no limit is set and there is nothing to compare with")
    ]


def error_check(name: str, reason: str, *, part: str = WHOLE) -> Check:
    """A check that could not be made."""
    return Check(name, part, Verdict.ERROR, f"{name} [{part}]: {reason}")


def _failed_check(case: Case) -> Check:
    """The engine's refusals are counted, not sampled: the set holds no utterance to refuse."""
    failed, count = int(case.candidate.failed.sum()), case.candidate.failed.size
    share, limit = failed / count, case.policy.max_failed
    return Check(
        name="failed",
        slice=WHOLE,
        verdict=Verdict.PASS if share <= limit else Verdict.FAIL,
        reason=f"failed [{WHOLE}]: the engine failed on {failed} of {count} utterances",
        value=rounded(share),
        limit=limit,
    )


def _limit_checks(case: Case) -> Iterator[Check]:
    for part in case.slices:
        limits = case.policy.limits if part.name == WHOLE else case.policy.slice_limits
        for metric, limit in limits.named().items():
            if metric not in case.candidate.rates:
                known = ", ".join(case.candidate.rates)
                yield error_check(metric, f"this set has {known}", part=part.name)
            else:
                yield _too_few(case, metric, part, limit) or judge_limit(
                    metric, part.name, _rate(case, metric, part), limit
                )


def _compared(policy: GatePolicy) -> tuple[str, ...]:
    """The baselines that any margin names, parent first."""
    return tuple({**policy.margins.named(), **policy.margins_of_slices.named()})


def _margin_checks(case: Case, name: str) -> Iterator[Check]:
    check = f"{case.candidate.metric}{OVER}{name}"
    baseline = _baseline(case, name)
    if isinstance(baseline, Scores):
        yield from _compare(case, check, name, baseline)
    elif baseline.reason:
        yield error_check(check, baseline.reason)


def _baseline(case: Case, name: str) -> Scores | Mismatch:
    """Sound answers to compare with; a mismatch without a reason is nothing in production."""
    baseline = case.baselines.get(name)
    if baseline is None:
        return Mismatch("the parent's answers were not given" if name == "parent" else "")
    if isinstance(baseline, Mismatch):
        return Mismatch(f"{name}: {baseline.reason}")
    share = float(baseline.failed.mean())
    if share > case.policy.max_failed:
        return Mismatch(f"{name}: the engine failed on {share:.1%} of the set")
    return baseline


def _compare(case: Case, check: str, name: str, baseline: Scores) -> Iterator[Check]:
    policy = case.policy
    for part in case.slices:
        margins = policy.margins if part.name == WHOLE else policy.margins_of_slices
        margin = margins.named().get(name)
        if margin is not None:
            # Its deletions where it failed would flatter the candidate.
            answered = part.only(~baseline.failed)
            yield _too_few(case, check, answered, margin) or judge_margin(
                check, part.name, _difference(case, baseline, answered), margin, name
            )


def _too_few(case: Case, name: str, part: Slice, limit: float) -> Check | None:
    policy = case.policy
    utterances = policy.min_utterances - part.members.size
    clusters = policy.min_clusters - part.cluster_count
    if not case.candidate.compared.under[part.members].any():
        return error_check(name, "no reference has a word after normalising", part=part.name)
    if utterances <= 0 and clusters <= 0:
        return None
    needed = [f"{utterances} more utterances"] if utterances > 0 else []
    needed += [f"{clusters} more clusters ({policy.cluster})"] if clusters > 0 else []
    return Check(
        name=name,
        slice=part.name,
        verdict=Verdict.INCONCLUSIVE,
        reason=f"{name} [{part.name}]: too little data, needs {' and '.join(needed)}",
        limit=limit,
    )


def _rate(case: Case, metric: str, part: Slice) -> Estimate:
    rate = case.candidate.rates[metric]
    return _estimate(case.policy, rate.over, rate.under, part, None)


def _difference(case: Case, baseline: Scores, part: Slice) -> Estimate:
    ours, theirs = case.candidate.compared.over, baseline.compared.over
    wrong = np.concatenate([ours[part.members], theirs[part.members]])
    wrong = wrong[wrong > 0]
    # Identical transcripts: a changed one would cost what wrong ones cost here.
    cost = float(wrong.mean()) if wrong.size else None
    return _estimate(case.policy, ours - theirs, case.candidate.compared.under, part, cost)


def _estimate(
    policy: GatePolicy,
    over: NDArray[np.float64],
    under: NDArray[np.float64],
    part: Slice,
    fault_cost: float | None,
) -> Estimate:
    return estimate_rate(
        over[part.members],
        under[part.members],
        part.clusters,
        confidence=policy.confidence,
        resamples=policy.resamples,
        seed=policy.seed,
        fault_cost=fault_cost,
    )
