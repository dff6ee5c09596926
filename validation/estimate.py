"""One measured value with bounds that a sceptic accepts.

The interval is the widest of three: the resampling (studentised cluster bootstrap, or approximate
randomisation), Student's t over clusters, and, above, the exact binomial bound for faults too rare
to resample. Each is weak somewhere: the bootstrap for differences carried by few speakers, t and
randomisation for skewed rates, and the exact bound knows nothing of speakers.

What the three together keep was simulated with 8,000 sets each (95 %, six words an utterance).
A candidate worse by exactly the margin passes this often, by the coefficient of variation of the
speakers' skill:

    speakers x utterances    0.6    1.2    1.9    2.6
    32 x 14                  3.0 %  4.1 %  5.1 %  7.4 %
    16 x 28                  3.1 %  4.9 %  7.3 %  10.9 %

Few speakers who differ much are beyond any of the three: a policy has a least number of clusters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from validation.bootstrap import bootstrap_contrast, bootstrap_ratio
from validation.contrast import Contrast, by_cluster
from validation.exact import RareEvents, rare_changes, rare_faults
from validation.randomisation import randomise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from validation.contrast import Function
    from validation.measures import Measure
    from validation.slices import Slice

    Column = NDArray[np.float64]


# Below it the cube root would only round.
_NOT_SKEWED = 1e-6


class Resampling(Protocol):
    """What a bootstrap and a randomisation both say: bounds, and the p-values beyond them."""

    @property
    def value(self) -> float:
        """What was measured."""

    @property
    def standard_error(self) -> float:
        """Over clusters; 0 when nothing varies."""

    @property
    def clusters(self) -> int:
        """How many there are."""

    @property
    def skewness(self) -> float:
        """Of the clusters, for Student's t; 0 where the bounds below allow for it."""

    def lower(self, tail: float) -> float:
        """Bound that the true value is below with a chance of `tail`."""

    def upper(self, tail: float) -> float:
        """Bound that the true value is above with a chance of `tail`."""

    def p_value(self, limit: float) -> float:
        """One-sided p-value of "the true value is `limit` or more"."""

    def p_above(self, limit: float) -> float:
        """One-sided p-value of "the true value is `limit` or less"."""


@dataclass(frozen=True, slots=True)
class Method:
    """How to resample; `confidence`, 0 to 1, is that of the two-sided interval."""

    confidence: float = 0.95
    resamples: int = 2000
    seed: int = 1
    name: Literal["bootstrap", "randomisation"] = "bootstrap"

    @property
    def tail(self) -> float:
        """Chance with which each end of an interval is wrong."""
        return (1 - self.confidence) / 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, its interval, and what is needed to question it further; lower is better.

    Each end of [low, high] is passed by the true value with a chance of `tail`. `rare` is None
    where the measure does not count faults.
    """

    value: float
    low: float
    high: float
    tail: float
    sampled: Resampling
    rare: RareEvents | None

    @property
    def sampled_high(self) -> float:
        """The upper end as the spread between clusters alone has it."""
        return max(self.sampled.upper(self.tail), *_student_bounds(self.sampled, self.tail))

    def p_value(self, limit: float) -> float:
        """One-sided p-value of "the true value is `limit` or more", the largest of the three."""
        found = [self.sampled.p_value(limit), *_student_chances(self.sampled, limit)]
        return max(*found, 0.0 if self.rare is None else self.rare.p_value(limit))

    def p_above(self, limit: float) -> float:
        """One-sided p-value of "the true value is `limit` or less", the larger of the two."""
        return max(self.sampled.p_above(limit), 1 - min(_student_chances(self.sampled, limit)))


def estimate_rate(
    numerators: Column,
    denominators: Column,
    clusters: NDArray[np.intp],
    *,
    method: Method,
    fault_cost: float | None = None,
) -> Estimate:
    """Estimate sum(numerators) / sum(denominators), an error rate or a difference of two.

    Arrays are [utterances]. Positive numerators are faults, negative ones (of a difference) are
    gains. `fault_cost` is the numerator to expect of one faulty utterance when none was seen;
    by default its whole denominator. Raises ValueError for fewer than two clusters or a
    denominator of zero.
    """
    sampled = _sample_ratio(numerators, denominators, clusters, method)
    found = _estimate(sampled, rare_faults(numerators, denominators, fault_cost), method)
    # Errors are counted: only a difference can be below none.
    return found if (numerators < 0).any() else replace(found, low=max(found.low, 0.0))


def estimate_measure(measure: Measure, part: Slice, method: Method) -> Estimate:
    """Estimate a measure over a slice, turned so that lower is better.

    Raises ValueError for fewer than two clusters, or when it is undefined there.
    """
    rows = measure.statistics[part.members]
    if _counts_faults(measure):
        return estimate_rate(rows[:, 0], rows[:, 1], part.clusters, method=method)
    contrast = Contrast(_oriented(measure), by_cluster(rows, part.clusters))
    return _estimate(_sample(contrast, method), None, method)


def estimate_difference(ours: Measure, theirs: Measure, part: Slice, method: Method) -> Estimate:
    """Estimate by how much `ours` is worse than `theirs` on the same utterances of a slice.

    Negative where it is better, whichever way the measure is. Raises as `estimate_measure`.
    """
    mine, other = ours.statistics[part.members], theirs.statistics[part.members]
    if _counts_faults(ours) and np.array_equal(mine[:, 1], other[:, 1]):
        wrong = np.concatenate([mine[:, 0], other[:, 0]])
        wrong = wrong[wrong > 0]
        # Identical transcripts: a changed one would cost what wrong ones cost here.
        cost = float(wrong.mean()) if wrong.size else None
        change = mine[:, 0] - other[:, 0]
        return estimate_rate(change, mine[:, 1], part.clusters, method=method, fault_cost=cost)
    of = _oriented(ours)
    contrast = Contrast(of, by_cluster(mine, part.clusters), by_cluster(other, part.clusters))
    return _estimate(_sample(contrast, method), rare_changes(of, mine, other), method)


def _estimate(sampled: Resampling, rare: RareEvents | None, method: Method) -> Estimate:
    tail = method.tail
    low = min(sampled.lower(tail), *_student_bounds(sampled, 1 - tail))
    high = max(sampled.upper(tail), *_student_bounds(sampled, tail))
    if rare is not None:
        high = max(high, rare.upper(tail))
    return Estimate(sampled.value, low, high, tail, sampled, rare)


def _student_bounds(sampled: Resampling, chance: float) -> tuple[float, float]:
    """Bounds whose t over clusters is the quantile of order `chance`: plain, and skewness removed.

    The second inverts the cubic of Hall (1992, "On the removal of skewness by transformation",
    equation 2.2): g(t) = t + a t^2 + a^2 t^3 / 3 + a / 2, a = skewness / (3 sqrt(clusters)).
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped] # scipy has no types

    quantile = float(stdtrit(sampled.clusters - 1, chance))
    bent = sampled.skewness / (3 * math.sqrt(sampled.clusters))
    root = (
        quantile
        if abs(bent) < _NOT_SKEWED
        else (math.cbrt(1 + 3 * bent * (quantile - bent / 2)) - 1) / bent
    )
    error = sampled.standard_error
    return sampled.value - error * quantile, sampled.value - error * root


def _student_chances(sampled: Resampling, limit: float) -> tuple[float, float]:
    """One-sided p-values of "the true value is `limit` or more", as `_student_bounds`."""
    if sampled.standard_error == 0:
        found = 0.0 if sampled.value < limit else 1.0
        return found, found
    from scipy.special import stdtr

    root = (sampled.value - limit) / sampled.standard_error
    bent = sampled.skewness / (3 * math.sqrt(sampled.clusters))
    straight = root + bent * root**2 + bent**2 * root**3 / 3 + bent / 2
    freedom = sampled.clusters - 1
    return float(stdtr(freedom, root)), float(stdtr(freedom, straight))


def _sample_ratio(
    numerators: Column, denominators: Column, clusters: NDArray[np.intp], method: Method
) -> Resampling:
    if method.name == "bootstrap":
        return bootstrap_ratio(
            numerators, denominators, clusters, resamples=method.resamples, seed=method.seed
        )
    over, under = by_cluster(np.column_stack([numerators, denominators]), clusters).T
    if under.sum() <= 0:
        raise ValueError("a ratio needs a positive denominator")
    value, sizes = float(over.sum() / under.sum()), under / under.sum()
    return _randomised(value, over / under.sum() - value * sizes, sizes, method)


def _sample(contrast: Contrast, method: Method) -> Resampling:
    if method.name == "bootstrap":
        return bootstrap_contrast(contrast, resamples=method.resamples, seed=method.seed)
    ones = np.ones(contrast.clusters)
    value = float(contrast.values(ones))
    if not np.isfinite(value):
        raise ValueError("a clustered value needs to be defined")
    return _randomised(value, contrast.influences(ones), ones / ones.size, method)


def _randomised(value: float, shares: Column, sizes: Column, method: Method) -> Resampling:
    return randomise(value, shares, sizes, resamples=method.resamples, seed=method.seed)


def _counts_faults(measure: Measure) -> bool:
    return bool(measure.is_ratio) and measure.unit == "share" and measure.better == "lower"


def _oriented(measure: Measure) -> Function:
    """The measure's function, negated where higher is better."""
    return measure.of if measure.better == "lower" else lambda sums: -measure.of(sums)
