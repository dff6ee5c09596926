"""Which regressions a set could have found, and how much data its question would take.

A pass rests on an interval below the margin. Whether an honest candidate could have got there
depends on the spread between clusters alone, so a report says it next to every verdict. Nothing
here judges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from validation.estimate import Estimate

# No answer beyond this many times the data is useful.
_LARGEST_GROWTH = 1000.0
_STEPS = 30


@dataclass(frozen=True, slots=True)
class Power:
    """What data with this spread could show. None: cannot be said, or no amount would do.

    `detects` is the smallest true regression beyond the baseline (or beyond the limit, where
    there is none) whose interval would show it in most sets, in the metric's unit.
    `passes_if_equal` is the chance, 0 to 1, that a candidate equal to its baseline (or truly at
    its estimate) passes. The two amounts are totals: with so many, that chance is high.
    """

    detects: float | None = None
    passes_if_equal: float | None = None
    clusters_needed: int | None = None
    utterances_needed: int | None = None


@dataclass(frozen=True, slots=True)
class Design:
    """A set's clusters and utterances, the spread seen between its clusters, and the question.

    The candidate's true value is taken to be `truth`, and it passes when its interval lies below
    `limit`.
    """

    estimate: Estimate
    truth: float
    limit: float
    clusters: int
    utterances: int

    def passing(self, factor: float = 1.0) -> float:
        """Chance, 0 to 1, to pass with `factor` times as many clusters like these.

        The power of a one-sided t-test (noncentral t; Julious 2004, equation 27), the standard
        error widened as the gate's own interval is, and not above that of the exact bound.
        """
        found = self.estimate
        error = self.standard_error / math.sqrt(factor)
        freedom = max(1.0, self.clusters * factor - 1)
        sampled = _power(freedom, self.limit - self.truth, error, found.tail)
        if found.rare is None:
            return sampled
        return min(
            sampled,
            found.rare.passing(self.limit, truth=self.truth, factor=factor, tail=found.tail),
        )

    @property
    def standard_error(self) -> float:
        """That whose plain t-interval would be as wide as the interval found."""
        from scipy.special import stdtrit  # type: ignore[import-untyped] # scipy has no types

        found = self.estimate
        quantile = float(stdtrit(self.clusters - 1, 1 - found.tail))
        return (found.sampled_high - found.value) / quantile

    def detects(self, chance: float) -> float:
        """The smallest regression whose interval lies above the truth with this `chance`.

        Where nothing varied: one of which at least one fault would have been seen.
        """
        from scipy.special import stdtrit

        found = self.estimate
        quantiles = stdtrit(self.clusters - 1, [1 - found.tail, chance])
        spread = float(quantiles.sum()) * self.standard_error
        if found.rare is None:
            return spread
        unseen: float = 1 - (1 - chance) ** (1 / found.rare.trials)
        return max(spread, unseen * found.rare.cost)

    def factor_needed(self, chance: float) -> float | None:
        """How many times the clusters of this set give that `chance` to pass; None: none would."""
        if self.truth >= self.limit:
            return None
        low, high = math.log(2 / self.clusters), math.log(_LARGEST_GROWTH)
        if self.passing(math.exp(high)) < chance:
            return None
        for _ in range(_STEPS):
            middle = (low + high) / 2
            low, high = (
                (low, middle) if self.passing(math.exp(middle)) >= chance else (middle, high)
            )
        return math.exp(high)


def power_of(design: Design, chance: float, *, clusters: int, utterances: int) -> Power:
    """What the design shows with `chance`; `clusters` and `utterances` are the least allowed."""
    factor = design.factor_needed(chance)
    return Power(
        detects=design.detects(chance),
        passes_if_equal=design.passing(),
        clusters_needed=None
        if factor is None
        else max(clusters, math.ceil(design.clusters * factor)),
        utterances_needed=None
        if factor is None
        else max(utterances, math.ceil(design.utterances * factor)),
    )


def _power(freedom: float, distance: float, error: float, tail: float) -> float:
    """Chance that a t-interval whose truth is `distance` below the limit lies below it."""
    if error == 0:
        return 1.0 if distance > 0 else 0.0
    from scipy.special import nctdtr, ndtr, stdtrit

    quantile = float(stdtrit(freedom, 1 - tail))
    away = distance / error
    chance = 1 - float(nctdtr(freedom, max(away, 0.0), quantile)) if away < 30 else 1.0
    return chance if math.isfinite(chance) else float(ndtr(away - quantile))
