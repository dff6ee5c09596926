"""From a stated number of false alarms a month to a threshold, by what past days reached.

**By rank.** Without drift today is one of k + 1 days that could have come in any order. So today's
largest value is over the r-th largest of k past days with a chance of r / (k + 1), whatever its
distribution (Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005, chapter 2). A
rank between two days is a value between theirs.

**By a fitted tail.** With fewer days than that needs, the tail is taken to be Gumbel's, as that of
a maximum of many values is in the limit (Gumbel 1958). How much the mean and the deviation of k
days may be off is part of the threshold: it is the quantile of (new - mean) / deviation for k + 1
Gumbel values, which depends on k alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_DAYS = 14
"""Of fewer days nothing is said."""
_DRAWS = 40_000


class Basis(StrEnum):
    """What a threshold rests on."""

    RANK = "rank"
    FITTED_TAIL = "fitted tail"


@dataclass(frozen=True, slots=True)
class Threshold:
    """The value that a day without drift exceeds with a chance of `share`."""

    value: float
    share: float
    days: int
    basis: Basis


@dataclass(frozen=True, slots=True)
class TooFewDays:
    """No threshold can be stated yet."""

    days: int
    more: int


def threshold_of(maxima: NDArray[np.float64], share: float) -> Threshold | TooFewDays:
    """The threshold from past days' largest values [days], passed on `share` (0 to 1) of days."""
    days = len(maxima)
    if days < LEAST_DAYS:
        return TooFewDays(days, LEAST_DAYS - days)
    if days >= days_by_rank(share):
        return Threshold(_by_rank(maxima, share), share, days, Basis.RANK)
    spread = float(maxima.std(ddof=1))
    value = float(maxima.mean()) + _gumbel_factor(days, share) * spread
    return Threshold(value, share, days, Basis.FITTED_TAIL)


def days_by_rank(share: float) -> int:
    """How many past days a threshold by rank needs."""
    return ceil(round(1 / share - 1, 9))


def _by_rank(maxima: NDArray[np.float64], share: float) -> float:
    ordered = np.sort(maxima)[::-1]
    rank = share * (len(ordered) + 1)
    whole = int(rank)
    part = rank - whole
    lower = ordered[min(whole, len(ordered) - 1)]
    return float(ordered[whole - 1] * (1 - part) + lower * part)


@cache
def _gumbel_factor(days: int, share: float) -> float:
    """By how many deviations of past days the threshold lies over their mean."""
    rng = np.random.default_rng(0)
    values = rng.gumbel(size=(_DRAWS, days + 1))
    past = values[:, :days]
    pivot = (values[:, days] - past.mean(axis=1)) / past.std(axis=1, ddof=1)
    return float(np.quantile(pivot, 1 - share))
