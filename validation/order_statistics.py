"""Intervals of timed requests: quantiles of any distribution, and a ratio of sums.

A quantile's interval comes from order statistics and the binomial alone (David & Nagaraja, Order
Statistics, 2003, section 7.1), so a long tail or two modes do no harm. Values are taken as
independent draws; nothing here knows what they measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FEWEST_FOR_RATIO = 60
"""Values from which on the approximation behind a ratio's interval holds."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and both ends of its interval; an end that the data cannot give is infinite."""

    value: float
    low: float
    high: float


def quantile_interval(values: Sequence[float], share: float, tail: float) -> Interval:
    """The quantile of order `share`, each end wrong with a chance of at most `tail`.

    With n independent values of one distribution, the k-th smallest is at least the quantile with
    a chance of P(Binomial(n, share) < k), whatever the distribution. An end for which there are
    too few values is infinite.
    """
    from scipy.special import bdtr  # type: ignore[import-untyped] # scipy has no types

    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = ordered.size
    if not count:
        return Interval(math.nan, -math.inf, math.inf)
    # below[k] is the chance that at most k of the values are below the quantile.
    below = bdtr(np.arange(count), count, share)
    highs = np.flatnonzero(below >= 1 - tail)
    lows = np.flatnonzero(below <= tail)
    return Interval(
        value=float(ordered[max(0, math.ceil(share * count) - 1)]),
        low=float(ordered[lows[-1]]) if lows.size else -math.inf,
        # The chance at `count` is 1, but there is no value beyond the largest.
        high=float(ordered[highs[0]]) if highs.size else math.inf,
    )


def requests_needed(share: float, tail: float) -> int:
    """The fewest requests whose slowest is beyond the quantile with a chance of 1 - `tail`."""
    return math.ceil(math.log(tail) / math.log(share))


def ratio_interval(over: NDArray[np.float64], under: NDArray[np.float64], tail: float) -> Interval:
    """A ratio of sums of positive numbers, each end wrong with a chance of about `tail`.

    Linearised (Cochran, Sampling Techniques, 1977, section 6.4) on the logarithmic scale, with
    Student's t. Approximate: where single ratios scatter by a factor of 1.5, the upper end is wrong
    3.5 % of the time instead of 2.5 % (measured with 60 and 200 values). Infinite ends with fewer
    than FEWEST_FOR_RATIO.
    """
    from scipy.special import stdtrit

    count, total = over.size, float(under.sum())
    ratio = float(over.sum()) / total
    if count < FEWEST_FOR_RATIO:
        return Interval(ratio, -math.inf, math.inf)
    residuals = over - ratio * under
    error = math.sqrt(float(np.square(residuals).sum()) * count / (count - 1)) / total
    factor = math.exp(float(stdtrit(count - 1, 1 - tail)) * error / ratio)
    return Interval(ratio, ratio / factor, ratio * factor)


def chance_of_at_least(kept: int, count: int, share: float) -> float:
    """Chance that at least `kept` of `count` keep a limit that a share of them does."""
    from scipy.special import bdtrc

    return 1.0 if kept <= 0 else float(bdtrc(kept - 1, count, share))
