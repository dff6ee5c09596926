"""Metrics as functions of sums, so that a whole set, a slice and a resample are scored alike.

A corpus rate, BLEU or a mean is no mean of per-utterance values: it is made of numbers that are
added up first. Holding those numbers for each utterance is what lets an interval be resampled
without scoring anything twice. Nothing here knows which metric it holds, or judges it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

Better = Literal["lower", "higher"]
Unit = Literal["share", "points", "dB", "score", "ms", "s", "bytes", "per second", "ratio"]
Numbers = NDArray[np.float64]


def quotient(sums: Numbers) -> Numbers:
    """The first of two sums [..., 2] over the second, [...]; NaN where the second is 0."""
    over, under = sums[..., 0], sums[..., 1]
    found = np.full(np.shape(over), np.nan)
    np.divide(over, under, out=found, where=under != 0)
    return found


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric of a set as a function of sums over its utterances.

    `statistics`, float64 [utterances, K], are summed over the utterances of a slice; `of` takes
    sums [..., K] to values [...] in `unit`, NaN where there is none to tell. A row that is not
    finite is an utterance without a number, and so is every sum that it is in. `signature` says
    exactly how the metric was computed. `is_ratio` promises that K is 2, that the value is the
    quotient of the sums, and that both columns are at least 0, as faults over chances are.
    """

    statistics: Numbers
    of: Callable[[Numbers], Numbers] = quotient
    better: Better = "lower"
    unit: Unit = "share"
    signature: str = ""
    is_ratio: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for another shape, or numbers that belie `is_ratio`."""
        if self.statistics.ndim != 2:
            raise ValueError("a measure needs statistics [utterances, K]")
        if self.is_ratio and (self.statistics.shape[1] != 2 or (self.statistics < 0).any()):
            raise ValueError("a ratio needs two columns of numbers that are at least 0")

    @classmethod
    def ratio(
        cls,
        over: ArrayLike,
        under: ArrayLike,
        *,
        better: Better = "lower",
        unit: Unit = "share",
        signature: str = "",
    ) -> Measure:
        """Faults over chances, both [utterances] and at least 0. Raises ValueError otherwise."""
        return cls(_columns(over, under), quotient, better, unit, signature, is_ratio=True)

    @classmethod
    def mean(
        cls,
        values: ArrayLike,
        present: ArrayLike,
        *,
        better: Better = "higher",
        unit: Unit = "score",
        signature: str = "",
    ) -> Measure:
        """The mean of `values` where `present`, bool; both [utterances].

        It is no ratio of faults: a value may be below 0.
        """
        kept = np.asarray(present, dtype=np.bool_)
        values = np.where(kept, np.asarray(values, dtype=np.float64), 0.0)
        return cls(_columns(values, kept), quotient, better, unit, signature)

    @property
    def value(self) -> float:
        """The metric of the whole set; NaN when it has none."""
        return float(self.of(self.statistics.sum(axis=0)))

    def value_of(self, members: NDArray[np.intp]) -> float:
        """The metric of the utterances at positions `members`; NaN when they have none."""
        return float(self.of(self.statistics[members].sum(axis=0)))


def _columns(over: ArrayLike, under: ArrayLike) -> Numbers:
    pair = np.broadcast_arrays(np.asarray(over, np.float64), np.asarray(under, np.float64))
    return np.stack(pair, axis=-1)
