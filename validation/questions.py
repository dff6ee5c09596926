"""The questions that a gate asks of scored answers, each answered by one check.

What could not be measured is an error, what is measured on too little is inconclusive, and only
the rest is judged by its interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from validation.correction import holm
from validation.estimate import Estimate, Method, estimate_difference, estimate_measure
from validation.evidence import Check, rounded
from validation.power import Design, Power, power_of
from validation.rules import OVER, Question, judge
from validation.scoring import Mismatch, Scores
from validation.slices import WHOLE, Slice, absent_slices
from validation.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from validation.measures import Measure
    from validation.policy import GatePolicy

__all__ = ["OVER", "Case", "error_check", "quality_checks"]

_NAMES_SHOWN = 3
# Four resamples beyond the smallest tail that a correction may ask for.
_RESAMPLES_BEYOND = 4


@dataclass(frozen=True, slots=True)
class Case:
    """All that the checks look at.

    `baselines` are "parent" and "production", as far as their answers were given, or why they
    could not be scored. `ids` are the utterances'.
    """

    policy: GatePolicy
    slices: tuple[Slice, ...]
    candidate: Scores
    baselines: Mapping[str, Scores | Mismatch]
    ids: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question to data that are there; `missing` says what they lack for an answer."""

    question: Question
    part: Slice
    baseline: Scores | None
    missing: str


def quality_checks(case: Case) -> Iterator[Check]:
    """Every check of answers that were given, the engine's failures first."""
    yield _failed_check(case)
    yield from _absent_checks(case)
    found = [*_limits(case), *_margins(case)]
    method = _method(case.policy, len(found))
    estimates = [_estimate(case, one, method) if isinstance(one, _Asked) else None for one in found]
    adjusted = _adjusted(case.policy, found, estimates)
    for row, (one, estimate) in enumerate(zip(found, estimates, strict=True)):
        if isinstance(one, Check):
            yield one
        else:
            yield _judged(case.policy, one, estimate, adjusted.get(row, 1.0))
    if not found:
        yield error_check("quality", "no limit is set and there is nothing to compare with")


def error_check(name: str, reason: str, *, part: str = WHOLE) -> Check:
    """A check that could not be made."""
    return Check(name, part, Verdict.ERROR, f"{name} [{part}]: {reason}")


def _failed_check(case: Case) -> Check:
    """The engine's refusals are counted, not sampled: the set holds no utterance to refuse."""
    failed, count = int(case.candidate.failed.sum()), case.candidate.failed.size
    share, limit = failed / count, case.policy.max_failed
    first = next((f": {error}" for error in case.candidate.errors if error), "")
    return Check(
        name="failed",
        slice=WHOLE,
        verdict=Verdict.PASS if share <= limit else Verdict.FAIL,
        reason=f"failed [{WHOLE}]: the engine failed on {failed} of {count} utterances{first}",
        value=rounded(share),
        limit=limit,
        metric="failed",
        unit="share",
    )


def _absent_checks(case: Case) -> Iterator[Check]:
    for name in absent_slices(case.policy, case.slices):
        yield error_check("slice", "the policy has a margin for it, the set nothing", part=name)


def _limits(case: Case) -> Iterator[_Asked | Check]:
    policy = case.policy
    for part in case.slices:
        whole = part.name == WHOLE
        limits = policy.limits if whole else policy.slice_limits
        floors = policy.floors if whole else policy.slice_floors
        for metric, bound in {**limits.named(), **floors.named()}.items():
            yield _ask(case, metric, part, bound, "", None)


def _margins(case: Case) -> Iterator[_Asked | Check]:
    """Parent first, then production, the whole set before its slices."""
    first, policy = case.candidate.metric, case.policy
    tables = {part.name: policy.margins_of(part.name, first) for part in case.slices}
    tables[WHOLE] = policy.margins.named(first)
    for name in ("parent", "production"):
        baseline = _baseline(case, name)
        if isinstance(baseline, Mismatch):
            metrics = dict.fromkeys(m for table in tables.values() for m in table.get(name, ()))
            for metric in metrics if baseline.reason else ():
                yield error_check(f"{metric}{OVER}{name}", baseline.reason)
            continue
        for part in case.slices:
            # Its deletions where it failed would flatter the candidate.
            answered = part.only(~baseline.failed)
            for metric, margin in tables[part.name].get(name, {}).items():
                yield _ask(case, metric, answered, margin, name, baseline)


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


def _ask(
    case: Case, metric: str, part: Slice, bound: float, name: str, baseline: Scores | None
) -> _Asked | Check:
    measure = case.candidate.measures.get(metric)
    asked = f"{metric}{OVER}{name}" if name else metric
    if measure is None:
        known = f"this set has {', '.join(case.candidate.measures)}"
        reason = case.candidate.unmeasured.get(metric, known)
        return error_check(asked, reason, part=part.name)
    if baseline is not None and measure.unit == "share" and bound > 1:
        reason = f"a margin of {bound:g} is more than all: {metric} is a share"
        return error_check(asked, reason, part=part.name)
    systems = [case.candidate] if baseline is None else [case.candidate, baseline]
    for scores in systems:
        if metric not in scores.measures:
            return error_check(asked, f"{name} has no {metric} on this set", part=part.name)
        if reason := _undefined(scores.measures[metric], part, case.ids):
            return error_check(asked, reason, part=part.name)
    question = Question(metric, part.name, bound, name, measure.better, measure.unit)
    return _Asked(question, part, baseline, _too_few(case.policy, part))


def _undefined(measure: Measure, part: Slice, ids: Sequence[str]) -> str:
    """Why the measure is no number on the slice; empty when it is one."""
    rows = measure.statistics[part.members]
    broken = part.members[~np.isfinite(rows).all(axis=1)]
    if broken.size:
        names = ", ".join(ids[row] for row in broken[:_NAMES_SHOWN])
        return f"no number for {broken.size} of {len(rows)} utterances, such as {names}"
    if len(rows) and np.isfinite(measure.of(rows.sum(axis=0))):
        return ""
    if measure.unit == "share":
        return "no reference has a word after normalising"
    return "it is undefined on these utterances"


def _too_few(policy: GatePolicy, part: Slice) -> str:
    """What the slice lacks of the policy's least amounts, in words."""
    utterances = policy.min_utterances - part.members.size
    clusters = policy.min_clusters - part.cluster_count
    needed = [f"{utterances} more utterances"] if utterances > 0 else []
    needed += [f"{clusters} more clusters ({policy.cluster})"] if clusters > 0 else []
    return f"too little data, needs {' and '.join(needed)}" if needed else ""


def _method(policy: GatePolicy, questions: int) -> Method:
    """The policy's, with as many resamples as a correction for so many questions takes."""
    least = math.ceil(_RESAMPLES_BEYOND * questions / policy.tail)
    resamples = policy.resamples if policy.correction == "none" else max(policy.resamples, least)
    return Method(policy.confidence, resamples, policy.seed, policy.method)


def _estimate(case: Case, asked: _Asked, method: Method) -> Estimate | None:
    """None where one cluster is all there is."""
    if asked.part.cluster_count < 2:
        return None
    metric = asked.question.metric
    ours = case.candidate.measures[metric]
    if asked.baseline is None:
        return estimate_measure(ours, asked.part, method)
    return estimate_difference(ours, asked.baseline.measures[metric], asked.part, method)


def _adjusted(
    policy: GatePolicy, found: Sequence[_Asked | Check], estimates: Sequence[Estimate | None]
) -> dict[int, float]:
    """P-values of "beyond the limit" by row, corrected: the whole set's, and all slices'."""
    claims = {
        row: (one, estimate.p_above(one.question.limit))
        for row, (one, estimate) in enumerate(zip(found, estimates, strict=True))
        if isinstance(one, _Asked) and estimate is not None and not one.missing
    }
    adjusted: dict[int, float] = {}
    for whole in (True, False):
        family = {r: p for r, (one, p) in claims.items() if (one.part.name == WHOLE) == whole}
        values = list(family.values())
        corrected = values if policy.correction == "none" else holm(values)
        adjusted |= dict(zip(family, corrected, strict=True))
    return adjusted


def _judged(
    policy: GatePolicy, asked: _Asked, estimate: Estimate | None, adjusted_p: float
) -> Check:
    power = None if estimate is None else _power(policy, asked, estimate)
    if asked.missing or estimate is None or power is None:
        question = asked.question
        limit = question.sign * question.limit
        return question.check(Verdict.INCONCLUSIVE, asked.missing, limit=limit, power=power)
    return judge(asked.question, estimate, adjusted_p=adjusted_p, power=power, policy=policy)


def _power(policy: GatePolicy, asked: _Asked, estimate: Estimate) -> Power:
    """What the slice could show, of a candidate equal to its baseline or truly at its estimate."""
    design = Design(
        estimate,
        truth=0.0 if asked.question.baseline else estimate.value,
        limit=asked.question.limit,
        clusters=asked.part.cluster_count,
        utterances=asked.part.members.size,
    )
    found = power_of(
        design, policy.power, clusters=policy.min_clusters, utterances=policy.min_utterances
    )
    chance = found.passes_if_equal
    return replace(
        found,
        detects=None if found.detects is None else rounded(found.detects),
        passes_if_equal=None if chance is None else rounded(chance),
    )
