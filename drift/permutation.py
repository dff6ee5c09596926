"""Thresholds from the data itself: how far apart two groups are that differ by chance alone.

Reference and window are pooled and their units dealt again at random, many times. Without drift
the real dealing is one of those, so its rank among them is uniform: the stated chance of a false
alarm holds exactly, for 50 rows as for 5,000, whatever the columns' shapes and correlations
(Westfall & Young 1993, single-step max-T). Units, not rows, are dealt: one session's answers
resemble each other. What this cannot know is drift that earlier days had too from hour to hour.

Only sums over units are needed, so all dealings of a block are one matrix product. Of many units,
random groups of the same size are dealt instead of single ones: dealing whole groups is a part of
all dealings that is closed under composition, so the rank stays uniform (Hemerik & Goeman, TEST
2018), at a fraction of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drift.binning import bin_codes, quantile_edges
from drift.distances import jensen_shannon_divergence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_BLOCK = 100
MOST_GROUPS = 2000
LEAST_GROUPS = 200
"""Of the smaller side, as long as it has so many units."""
_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class ColumnEvidence:
    """What the permutations say of one column."""

    name: str
    p_value: float
    """Chance, without drift, that any column stands out as much as this one: already
    corrected for the number of columns."""
    divergence: float
    """Jensen-Shannon divergence between window and reference, natural logarithm."""
    expected_divergence: float
    """Its mean over random dealings: what chance alone shows at these sizes."""
    critical_divergence: float
    """What it would have to exceed to be called drift at the asked level."""
    shift: float
    """Chance that a value of the window is higher than one of the reference, less the
    chance that it is lower: -1 to 1."""

    @property
    def effect(self) -> float:
        """Jensen-Shannon distance with the part that chance explains taken off: 0 to 0.833."""
        return float(np.sqrt(max(0.0, self.divergence - self.expected_divergence)))

    @property
    def smallest_visible_effect(self) -> float:
        """The effect that the window is just large enough to tell from chance."""
        return float(np.sqrt(max(0.0, self.critical_divergence - self.expected_divergence)))


@dataclass(frozen=True, slots=True)
class PooledCounts:
    """Both sides' units as histogram counts: float32 [units, columns, bins].

    The last two bins of each column are infinite and missing values. The first `reference` units
    are the reference's. Bin edges come from both sides together, so no dealing is preferred.
    """

    names: tuple[str, ...]
    counts: NDArray[np.float32]
    reference: int

    @property
    def window(self) -> int:
        """How many units are the window's."""
        return len(self.counts) - self.reference


def pool(
    columns: Sequence[tuple[str, NDArray[np.float64]]],
    units: NDArray[np.int64],
    reference: int,
    bins: int,
) -> PooledCounts:
    """Count the pooled values [rows] of each column by unit; `units` is int64 [rows].

    Units 0 to `reference` - 1 are the reference's, the others the window's.
    """
    total = int(units.max()) + 1
    width = bins + 4
    counts = np.zeros((total, len(columns), width), dtype=np.float32)
    for number, (_, values) in enumerate(columns):
        codes = _codes(values, bins)
        flat = np.bincount(units * width + codes, minlength=total * width)
        counts[:, number, :] = flat.reshape(total, width)
    return PooledCounts(tuple(name for name, _ in columns), counts, reference)


def group_units(pooled: PooledCounts, rng: np.random.Generator) -> PooledCounts:
    """Random groups of as many units each, so that there are some MOST_GROUPS at most.

    Units that do not fill a group are left out, fewer than one group of each side.
    """
    smaller = min(pooled.reference, pooled.window)
    size = min(len(pooled.counts) // MOST_GROUPS, smaller // LEAST_GROUPS)
    if size <= 1:
        return pooled
    sides = (pooled.counts[: pooled.reference], pooled.counts[pooled.reference :])
    grouped = [_grouped(side, size, rng) for side in sides]
    return PooledCounts(pooled.names, np.concatenate(grouped), len(grouped[0]))


def weigh_columns(
    pooled: PooledCounts, *, permutations: int, alpha: float, rng: np.random.Generator
) -> tuple[ColumnEvidence, ...]:
    """Evidence for each column, at level `alpha` over all of them.

    Two statistics a column, of which the more surprising one counts: the Jensen-Shannon
    divergence (any change of shape, missing values included) and the gap between the cumulative
    shares (a shift, seen in fewer rows).
    """
    statistics, shifts = _statistics(group_units(pooled, rng), permutations, rng)
    mean, deviation = statistics.mean(axis=0), statistics.std(axis=0)
    scale = np.where(deviation > _TIE, deviation, np.inf)
    standard = (statistics - mean) / scale
    largest = standard.max(axis=(1, 2))
    observed = standard[0].max(axis=0)
    p_values = np.mean(largest[:, None] >= observed[None, :] - _TIE, axis=0)
    critical = np.sort(largest)[-max(1, int(alpha * len(largest)))]
    return tuple(
        ColumnEvidence(
            name=name,
            p_value=float(p_values[number]),
            divergence=float(statistics[0, 0, number]),
            expected_divergence=float(mean[0, number]),
            critical_divergence=float(mean[0, number] + critical * deviation[0, number]),
            shift=float(shifts[number]),
        )
        for number, name in enumerate(pooled.names)
    )


def _grouped(
    counts: NDArray[np.float32], size: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Sums of `size` units each, drawn at random: [units // size, columns, bins]."""
    groups = len(counts) // size
    chosen = counts[rng.permutation(len(counts))[: groups * size]]
    sums: NDArray[np.float32] = chosen.reshape(groups, size, *counts.shape[1:]).sum(axis=1)
    return sums


def _codes(values: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    finite = np.isfinite(values)
    inside = values[finite]
    codes = np.full(len(values), bins + 2, dtype=np.int64)
    codes[np.isnan(values)] = bins + 3
    codes[finite] = bin_codes(inside, quantile_edges(np.sort(inside), bins))
    return codes


def _statistics(
    pooled: PooledCounts, permutations: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both statistics [permutations + 1, 2, columns], the real dealing first, and its shifts."""
    units = len(pooled.counts)
    matrix = pooled.counts.reshape(units, -1)
    total = matrix.sum(axis=0, dtype=np.float64)
    real = np.zeros((1, units), dtype=np.float32)
    real[0, pooled.reference :] = 1
    gaps = []
    shifts = np.empty(0)
    for dealt in _dealings(real, permutations, rng):
        window = (dealt @ matrix).astype(np.float64)
        sides = (_shares(total - window, pooled.counts.shape), _shares(window, pooled.counts.shape))
        gaps.append(np.stack([jensen_shannon_divergence(*sides), _cumulative_gap(*sides)], axis=1))
        if not shifts.size:
            shifts = _shift(*sides)[0]
    return np.concatenate(gaps), shifts


def _dealings(
    real: NDArray[np.float32], permutations: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """The real dealing, then random ones in blocks [dealings, units]: 1 for the window's units."""
    yield real
    for first in range(0, permutations, _BLOCK):
        block = np.repeat(real, min(_BLOCK, permutations - first), axis=0)
        yield rng.permuted(block, axis=1, out=block)


def _shares(counts: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Shares of rows [dealings, columns, bins]; every row is in one bin of each column."""
    cells = counts.reshape(len(counts), *shape[1:])
    shares: NDArray[np.float64] = cells / cells.sum(axis=-1, keepdims=True)
    return shares


def _finite(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares among finite values only; all 0 where a side has none."""
    inside = shares[..., :-2]
    sums = inside.sum(axis=-1, keepdims=True)
    among: NDArray[np.float64] = inside / np.where(sums > 0, sums, 1.0)
    return among


def _cumulative_gap(
    reference: NDArray[np.float64], window: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean distance of the cumulative shares over both sides' values: [dealings, columns]."""
    ours, theirs = _finite(reference), _finite(window)
    gap: NDArray[np.float64] = np.abs(np.cumsum(ours - theirs, axis=-1)) * (ours + theirs) / 2
    distance: NDArray[np.float64] = gap.sum(axis=-1)
    return distance


def _shift(reference: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cliff's delta from binned shares: [dealings, columns]."""
    ours, theirs = _finite(reference), _finite(window)
    under_ours = np.cumsum(ours, axis=-1) - ours
    under_theirs = np.cumsum(theirs, axis=-1) - theirs
    delta: NDArray[np.float64] = (theirs * under_ours - ours * under_theirs).sum(axis=-1)
    return delta
