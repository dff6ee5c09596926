"""Simulated months of traffic without drift, as counts: 24 windows a day, 12 columns.

Each column takes one of LEVELS values, so the counts of a window's values hold all there is to know
of its rows, and every distance and test on them is that on the rows. That is what makes hundreds of
months affordable: counts are drawn directly (multinomial), rows only where a function wants them.

Three worlds. `stationary`: nothing ever differs. `daily cycle`: columns move by up to half a
standard deviation over the day, and traffic by a factor of nine. `day effects`: each column is off
by its own random amount (0.15 standard deviations) on each whole day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from scipy.special import ndtr  # type: ignore[import-untyped]  # ships no types

from drift.distances import jensen_shannon_divergence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]
    Floats = NDArray[np.float64]

LEVELS = 64
COLUMNS = 12
HOURS = 24
REFERENCE_DAYS = 7
WORLDS = ("stationary", "daily cycle", "day effects")
BINS = 10
_EDGES = np.concatenate([[-np.inf], np.linspace(-3, 3, LEVELS - 1), [np.inf]])
_DAY_EFFECT = 0.15
VALUES: Floats = np.concatenate([[-3.05], (_EDGES[1:-2] + _EDGES[2:-1]) / 2, [3.05]])
"""The value of each level: a standard normal one, rounded."""


@dataclass(frozen=True)
class Traffic:
    """Counts of some days: int64 [days, hours, columns, levels], and where each column's mean is.

    `shifts` are in standard deviations, float64 [days, hours, columns].
    """

    counts: Counts
    shifts: Floats

    @property
    def rows(self) -> Counts:
        """Requests in each window, int64 [days, hours]."""
        rows: Counts = self.counts[:, :, 0].sum(axis=-1)
        return rows

    def table(self, rng: np.random.Generator, days: slice, hour: int) -> pa.Table:
        """Rows of one hour on those days, each column in an order of its own."""
        found = self.counts[days, hour].sum(axis=0)
        columns = {}
        for number in range(COLUMNS):
            values = np.repeat(VALUES, found[number])
            rng.shuffle(values)
            columns[f"c{number}"] = values
        return pa.table(columns)


def simulate(rng: np.random.Generator, world: str, days: int, rows: int) -> Traffic:
    """Traffic of `days` days with `rows` requests a window (on average, in `daily cycle`)."""
    shifts = np.zeros((days, HOURS, COLUMNS))
    sizes = np.full((days, HOURS), rows)
    wave = np.sin(2 * np.pi * np.arange(HOURS) / HOURS)
    if world == "daily cycle":
        shifts += 0.5 * wave[None, :, None] * np.cos(2 * np.pi * rng.random(COLUMNS))
        sizes = np.tile(np.maximum(10, rows * (1 + 0.8 * wave)).astype(int), (days, 1))
    if world == "day effects":
        shifts += _DAY_EFFECT * rng.normal(size=(days, 1, COLUMNS))
    return Traffic(draw(rng, sizes, shifts), shifts)


def draw(rng: np.random.Generator, sizes: Counts, shifts: Floats) -> Counts:
    """Counts of windows of `sizes` [...] whose columns are off by `shifts` [..., columns]."""
    chances = np.diff(ndtr(_EDGES - shifts[..., None]), axis=-1)
    counts: Counts = rng.multinomial(np.broadcast_to(sizes[..., None], shifts.shape), chances)
    return counts


def references(counts: Counts) -> Counts:
    """For each day from REFERENCE_DAYS on, the same hours of that many days before it, added."""
    sums = np.cumsum(counts, axis=0)
    before = sums[REFERENCE_DAYS - 1 : -1].copy()
    before[1:] -= sums[: -REFERENCE_DAYS - 1]
    return before


def distances(reference: Counts, window: Counts) -> tuple[Floats, Floats]:
    """Wasserstein and Jensen-Shannon distance as `drift.assessment` measures them: [...]."""
    total = reference.sum(axis=-1, keepdims=True)
    before = np.cumsum(reference, axis=-1)
    now = np.cumsum(window, axis=-1)
    ours, theirs = before / total, now / now[..., -1:]
    gaps = np.abs(ours - theirs)[..., :-1] @ np.diff(VALUES)
    mean = (reference / total) @ VALUES
    deviation = np.sqrt((reference / total) @ VALUES**2 - mean**2)
    ranks = np.ceil(np.arange(BINS + 1) * total / BINS).clip(1)
    edges = (before[..., None, :] < ranks[..., :, None]).sum(axis=-1)
    sides = (
        np.diff(np.take_along_axis(side, edges, axis=-1), prepend=0, append=1, axis=-1)
        for side in (ours, theirs)
    )
    return gaps / deviation, np.sqrt(jensen_shannon_divergence(*sides))
