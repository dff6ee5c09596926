"""One measured rate with bounds that a sceptic accepts.

The interval is the widest of three: the studentised cluster bootstrap, Student's t over
clusters, and, above, the exact binomial bound for faults too rare to resample. Each is weak
somewhere: the bootstrap for differences carried by few speakers, t for skewed rates, and the
exact bound knows nothing of speakers.

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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from validation.bootstrap import ClusterBootstrap, bootstrap_ratio
from validation.exact import RareEvents

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Asked how much more data would decide, no answer beyond this many times the data is useful.
_LARGEST_GROWTH = 100.0
_GROWTH_STEP = 1.02


@dataclass(frozen=True, slots=True)
class MoreData:
    """How many more clusters and utterances like these would decide, if the estimate held."""

    clusters: int
    utterances: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate, its interval, and what is needed to question it further.

    Each end of [low, high] is passed by the true rate with a chance of `tail`.
    """

    value: float
    low: float
    high: float
    tail: float
    bootstrap: ClusterBootstrap
    rare: RareEvents

    def p_value(self, limit: float) -> float:
        """One-sided p-value of "the true rate is `limit` or more", the largest of the three."""
        return max(
            self.bootstrap.p_value(limit),
            _student_p_value(self.bootstrap, limit),
            self.rare.p_value(limit),
        )

    def more_needed(self, limit: float) -> MoreData | None:
        """What would bring `high` below `limit`; None when nothing foreseeable would."""
        spread = _sampling_upper(self.bootstrap, self.tail) - self.value
        factor = 1.0
        while factor <= _LARGEST_GROWTH:
            factor *= _GROWTH_STEP
            sampled = self.value + spread / math.sqrt(factor)
            if max(sampled, self.rare.scaled(factor).upper(self.tail)) < limit:
                return MoreData(
                    clusters=math.ceil(self.bootstrap.clusters * (factor - 1)),
                    utterances=math.ceil(self.rare.trials * (factor - 1)),
                )
        return None


def estimate_rate(
    numerators: NDArray[np.float64],
    denominators: NDArray[np.float64],
    clusters: NDArray[np.intp],
    *,
    confidence: float,
    resamples: int,
    seed: int,
    fault_cost: float | None = None,
) -> Estimate:
    """Estimate sum(numerators) / sum(denominators) with a two-sided interval at `confidence`.

    Arrays are [utterances]. Positive numerators are faults, negative ones (of a difference) are
    gains. `fault_cost` is the numerator to expect of one faulty utterance when none was seen;
    by default its whole denominator. Raises ValueError for fewer than two clusters or a
    denominator of zero.
    """
    tail = (1 - confidence) / 2
    bootstrap = bootstrap_ratio(numerators, denominators, clusters, resamples=resamples, seed=seed)
    rare = _rare_events(numerators, denominators, fault_cost)
    low = min(bootstrap.lower(tail), bootstrap.value - _student(bootstrap, tail))
    if not (numerators < 0).any():
        low = max(low, 0.0)
    high = max(_sampling_upper(bootstrap, tail), rare.upper(tail))
    return Estimate(bootstrap.value, low, high, tail, bootstrap, rare)


def _rare_events(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64], fault_cost: float | None
) -> RareEvents:
    trials = int((denominators > 0).sum())
    whole = float(denominators.sum())
    faults = numerators[numerators > 0]
    if faults.size:
        each = float(faults.mean())
    else:
        each = whole / trials if fault_cost is None else fault_cost
    gains = -float(numerators[numerators < 0].sum())
    return RareEvents(min(faults.size, trials), trials, each * trials / whole, gains / whole)


def _sampling_upper(bootstrap: ClusterBootstrap, tail: float) -> float:
    return max(bootstrap.upper(tail), bootstrap.value + _student(bootstrap, tail))


def _student(bootstrap: ClusterBootstrap, tail: float) -> float:
    """Half of Student's two-sided interval, in the unit of the rate."""
    from scipy.special import stdtrit  # type: ignore[import-untyped] # scipy has no types

    return float(stdtrit(bootstrap.clusters - 1, 1 - tail)) * bootstrap.standard_error


def _student_p_value(bootstrap: ClusterBootstrap, limit: float) -> float:
    if bootstrap.standard_error == 0:
        return bootstrap.p_value(limit)
    from scipy.special import stdtr

    root = (bootstrap.value - limit) / bootstrap.standard_error
    return float(stdtr(bootstrap.clusters - 1, root))
