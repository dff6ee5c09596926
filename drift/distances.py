"""How far apart a window and its reference are, column by column, in the usual three numbers.

They describe; they do not decide. A distance has noise that grows as windows shrink (with no
drift at all, a PSI of 0.2 is common among 50 rows), so the alarm calibrates its own thresholds.

The formulas are those of Evidently 0.7 given the same bins, which the tests hold them to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drift.binning import ordered_bin_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drift.profile import ColumnProfile, Sample

EMPTY_BIN_SHARE = 1e-4
LEAST_DEVIATION = 1e-3
MOST_EXACT = 100_000


@dataclass(frozen=True, slots=True)
class ColumnDistances:
    """Distances of one column; each is 0 for equal distributions of finite values."""

    psi: float
    """Population stability index, natural logarithm; 0.1 is usually called a small shift."""
    jensen_shannon: float
    """Jensen-Shannon distance, natural logarithm, 0 to sqrt(ln 2) = 0.833."""
    wasserstein: float
    """First Wasserstein distance over the reference's standard deviation."""


def psi(reference: NDArray[np.float64], window: NDArray[np.float64]) -> float:
    """Population stability index of two share vectors [bins], each summing to 1.

    sum((r - w) ln(r / w)), with empty bins taken as EMPTY_BIN_SHARE. Evidently does the same
    while no share is below that; below it, it divides by a millionth of the smallest share, which
    makes one row decide, and is not followed.
    """
    ours = np.where(reference > 0, reference, EMPTY_BIN_SHARE)
    theirs = np.where(window > 0, window, EMPTY_BIN_SHARE)
    return float(np.sum((ours - theirs) * np.log(ours / theirs)))


def jensen_shannon_divergence(
    reference: NDArray[np.float64], window: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Jensen-Shannon divergence over the last axis, natural logarithm: 0 to ln 2.

    Arrays of shares [..., bins]; bins that are empty on both sides count nothing.
    """
    middle = (reference + window) / 2
    divergence: NDArray[np.float64] = (
        _x_log_ratio(reference, middle) + _x_log_ratio(window, middle)
    ).sum(axis=-1) / 2
    return np.maximum(divergence, 0.0)


def jensen_shannon(reference: NDArray[np.float64], window: NDArray[np.float64]) -> float:
    """Jensen-Shannon distance of two share vectors [bins]: the divergence's square root."""
    return float(np.sqrt(jensen_shannon_divergence(reference, window)))


def wasserstein(reference: NDArray[np.float64], window: NDArray[np.float64]) -> float:
    """First Wasserstein distance of two samples of finite values over the reference's deviation.

    The deviation is at least LEAST_DEVIATION, so that a constant reference does not divide by 0.
    NaN when a sample is empty.
    """
    if not len(reference) or not len(window):
        return float("nan")
    return wasserstein_of_ordered(np.sort(reference), np.sort(window), float(reference.std()))


def wasserstein_of_ordered(
    first: NDArray[np.float64], second: NDArray[np.float64], deviation: float
) -> float:
    """`wasserstein` of samples that are sorted; neither is empty.

    Of more than MOST_EXACT values a side, as many are taken at even ranks: within a thousandth of
    a deviation of the exact value for smooth columns.
    """
    scale = max(deviation, LEAST_DEVIATION)
    if max(len(first), len(second)) > MOST_EXACT:
        first, second = _at_even_ranks(first), _at_even_ranks(second)
    if len(first) == len(second):
        return float(np.abs(first - second).mean()) / scale
    both = np.concatenate([first, second])
    both.sort(kind="stable")  # two sorted runs: merged in linear time
    gaps = np.diff(both)
    below_first = np.searchsorted(first, both[:-1], side="right") / len(first)
    below_second = np.searchsorted(second, both[:-1], side="right") / len(second)
    return float(np.abs(below_first - below_second) @ gaps) / scale


def _at_even_ranks(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """MOST_EXACT of the sorted values, each in the middle of as large a part of them."""
    ranks = (np.arange(MOST_EXACT) + 0.5) / MOST_EXACT * len(ordered)
    thinned: NDArray[np.float64] = ordered[ranks.astype(np.int64)]
    return thinned


def wasserstein_from_profile(reference: ColumnProfile, window: NDArray[np.float64]) -> float:
    """`wasserstein` when only the reference's quantiles were kept: the mean gap of quantiles.

    Within a hundredth of a deviation of the exact value for smooth columns. NaN without values.
    """
    if not reference.quantiles or not len(window):
        return float("nan")
    shares = np.linspace(0.0, 1.0, len(reference.quantiles))
    gaps = np.abs(np.quantile(window, shares) - np.asarray(reference.quantiles))
    middle = float(np.sum((gaps[:-1] + gaps[1:]) / 2) / (len(shares) - 1))
    return middle / max(reference.deviation, LEAST_DEVIATION)


def column_distances(
    reference: ColumnProfile,
    window: NDArray[np.float64],
    sample: NDArray[np.float64] | None = None,
) -> ColumnDistances | None:
    """Distances of the window's finite values from the reference's; None when a side has none.

    With the reference's own values in `sample` the Wasserstein distance is exact.
    """
    values = np.sort(window[np.isfinite(window)])
    if not len(values) or not reference.finite:
        return None
    moved = wasserstein_from_profile(reference, values)
    if sample is not None:
        moved = wasserstein(sample[np.isfinite(sample)], values)
    return _distances(reference, values, moved)


def sample_distances(
    profile: ColumnProfile, reference: Sample, window: Sample
) -> ColumnDistances | None:
    """Distances between two sorted samples; `profile` is that of `reference`."""
    if not len(window.ordered) or not len(reference.ordered):
        return None
    moved = wasserstein_of_ordered(reference.ordered, window.ordered, profile.deviation)
    return _distances(profile, window.ordered, moved)


def missing_distance(reference: float, window: float) -> float:
    """Jensen-Shannon distance of two shares of missing values."""
    return jensen_shannon(
        np.array([reference, 1 - reference]), np.array([window, 1 - window], dtype=np.float64)
    )


def _distances(
    reference: ColumnProfile, ordered: NDArray[np.float64], moved: float
) -> ColumnDistances:
    ours = np.asarray(reference.counts) / reference.finite
    theirs = ordered_bin_counts(ordered, np.asarray(reference.edges)) / len(ordered)
    return ColumnDistances(psi(ours, theirs), jensen_shannon(ours, theirs), moved)


def _x_log_ratio(shares: NDArray[np.float64], middle: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio = np.divide(shares, middle, out=np.ones_like(shares), where=shares > 0)
    product: NDArray[np.float64] = shares * np.log(ratio)
    return product
