"""The rules of others on the same simulated traffic: which windows each would call drifted.

**Evidently 0.7** by its defaults: with a reference of at most 1,000 rows the Kolmogorov-Smirnov
test at 0.05, else the normed Wasserstein distance at 0.1; the data set drifted when half of its
columns did (`drift_share`). Its own stat-test functions are called on sampled windows, and must say
the same as what is computed for all windows.

**NannyML 0.13** by its defaults, read in its source (it is not installed here, so this is a
reimplementation): Jensen-Shannon distance to base 2 over Doane's bins of the reference period; an
alert where any column is over mean + 3 standard deviations of that period's own chunks.

**Bonferroni**: the Kolmogorov-Smirnov test at the budget divided by windows a month and columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import kolmogorov  # type: ignore[import-untyped]  # ships no types

from benchmarks.drift_worlds import COLUMNS, HOURS, LEVELS, VALUES
from drift.distances import jensen_shannon_divergence

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.drift_worlds import Counts, Floats

    Flags = NDArray[np.bool_]

SMALL_REFERENCE = 1000
KS_LEVEL = 0.05
WASSERSTEIN_LIMIT = 0.1
DRIFT_SHARE = 0.5
NANNYML_DEVIATIONS = 3


def ks_p_values(reference: Counts, window: Counts) -> Floats:
    """Asymptotic p-values of the two-sample Kolmogorov-Smirnov test: [...]."""
    m, n = reference.sum(axis=-1), window.sum(axis=-1)
    ours = np.cumsum(reference, axis=-1) / m[..., None]
    theirs = np.cumsum(window, axis=-1) / n[..., None]
    gap = np.abs(ours - theirs).max(axis=-1)
    p_values: Floats = kolmogorov(np.sqrt(n * m / (n + m)) * gap)
    return p_values


def evidently_columns(reference: Counts, window: Counts, wasserstein: Floats) -> Flags:
    """Which columns drifted: bool [..., columns]; the test is chosen for each reference."""
    small = reference.sum(axis=-1) <= SMALL_REFERENCE
    by_test = ks_p_values(reference, window) < KS_LEVEL
    return np.where(small, by_test, wasserstein >= WASSERSTEIN_LIMIT)


def evidently_itself(reference: Counts, window: Counts) -> tuple[bool, float]:
    """What Evidently's own default test says of one column: drifted, and its number."""
    import pandas as pd
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

    sides = [pd.Series(np.repeat(VALUES, counts)) for counts in (reference, window)]
    test: Callable[..., Any] = get_stattest(*sides, ColumnType.Numerical, None)
    found = test(*sides, ColumnType.Numerical, None)
    return bool(found.drifted), float(found.drift_score)


def dataset_drifted(columns: Flags) -> Flags:
    """Evidently's word on the window: at least DRIFT_SHARE of its columns."""
    return np.asarray(columns.mean(axis=-1) >= DRIFT_SHARE)


class NannyMl:
    """Thresholds fitted on a reference period: int64 [days, hours, columns, levels]."""

    def __init__(self, period: Counts) -> None:
        self.bins = [_doane(period[:, :, number].sum(axis=(0, 1))) for number in range(COLUMNS)]
        self.shares = [
            np.bincount(self.bins[number], period[:, :, number].sum(axis=(0, 1)))
            for number in range(COLUMNS)
        ]
        chunks = self.distances(period)
        self.limits = chunks.mean(axis=(0, 1)) + NANNYML_DEVIATIONS * chunks.std(axis=(0, 1))

    def distances(self, counts: Counts) -> Floats:
        """Jensen-Shannon distances, base 2, from the reference period: [..., columns]."""
        found = []
        for number in range(COLUMNS):
            bins, shares = self.bins[number], self.shares[number]
            matrix = np.zeros((LEVELS, len(shares)))
            matrix[np.arange(LEVELS), bins] = 1
            window = counts[..., number, :] @ matrix
            window = window / window.sum(axis=-1, keepdims=True)
            ours = np.broadcast_to(shares / shares.sum(), window.shape)
            found.append(jensen_shannon_divergence(ours, window) / np.log(2))
        return np.asarray(np.sqrt(np.stack(found, axis=-1)))

    def alerts(self, counts: Counts) -> Flags:
        """Which windows have a column over its limit: bool [...]."""
        return np.asarray((self.distances(counts) > self.limits).any(axis=-1))


def bonferroni(reference: Counts, window: Counts, per_month: float) -> Flags:
    """Which windows have a column under the corrected level: bool [...]."""
    level = per_month / (30 * HOURS * COLUMNS)
    return np.asarray((ks_p_values(reference, window) <= level).any(axis=-1))


def _doane(counts: Counts) -> NDArray[np.int64]:
    """The bin of each level by NumPy's rule `doane`, from how often each level occurs."""
    seen = np.flatnonzero(counts)
    low, high = VALUES[seen[0]], VALUES[seen[-1]]
    n = counts.sum()
    mean = counts @ VALUES / n
    deviation = np.sqrt(counts @ (VALUES - mean) ** 2 / n)
    skewness = counts @ ((VALUES - mean) / deviation) ** 3 / n
    error = np.sqrt(6 * (n - 2) / ((n + 1) * (n + 3)))
    bins = int(np.ceil(1 + np.log2(n) + np.log2(1 + abs(skewness) / error)))
    places = ((VALUES - low) / (high - low) * bins).astype(np.int64)
    return np.asarray(places.clip(0, bins - 1))
