"""A measure of one system, or what it has more than another's, as a function of cluster weights.

The seam between measures, which are functions of sums, and the resampling of clusters, which only
knows weights, values and influences. Judges nothing and draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Contrast:
    """of(sums of `ours`) - of(sums of `theirs`), or only the first; rows are clusters.

    Both are float64 [clusters, K]; `of` takes sums [..., K] to values [...].
    """

    of: Function
    ours: NDArray[np.float64]
    theirs: NDArray[np.float64] | None = None

    @property
    def clusters(self) -> int:
        """Number of rows."""
        return len(self.ours)

    def values(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """What it comes to when cluster g counts `weights[..., g]` times, float64 [...]."""
        found = self.of(weights @ self.ours)
        return found if self.theirs is None else found - self.of(weights @ self.theirs)

    def influences(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """By how much each cluster, counted once more, would move the value; shape of `weights`.

        The infinitesimal jackknife (Efron 1982, chapter 6), centred under the weights. Of a ratio
        it is the linearised residual (y - r x) / sum(x).
        """
        moved = _slopes(self.of, weights @ self.ours, self.ours) @ self.ours.T
        if self.theirs is not None:
            moved -= _slopes(self.of, weights @ self.theirs, self.theirs) @ self.theirs.T
        counted = weights.sum(axis=-1, keepdims=True)
        moved -= (weights * moved).sum(axis=-1, keepdims=True) / counted
        return np.asarray(moved)

    def standard_errors(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standard errors of `values`, float64 [...], by the clusters' influences."""
        squares = (weights * self.influences(weights) ** 2).sum(axis=-1)
        return np.asarray(np.sqrt(squares * self.clusters / (self.clusters - 1)))

    def only(self, rows: NDArray[np.intp]) -> Contrast:
        """The same of some of the clusters."""
        return Contrast(
            self.of, self.ours[rows], None if self.theirs is None else self.theirs[rows]
        )

    def rows(self) -> NDArray[np.float64]:
        """All that a cluster brings, float64 [clusters, K or 2 K]."""
        return self.ours if self.theirs is None else np.hstack([self.ours, self.theirs])


def by_cluster(statistics: NDArray[np.float64], clusters: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sums by cluster, float64 [clusters, K], of rows [utterances, K] numbered from 0."""
    count = int(clusters.max()) + 1 if clusters.size else 0
    columns = [np.bincount(clusters, column, count) for column in statistics.T]
    return np.column_stack(columns).astype(np.float64)


def _slopes(
    of: Function, sums: NDArray[np.float64], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Gradient of `of` at `sums` [..., K], float64 [..., K]: central differences.

    A step is what a typical cluster adds, at most half of the sum: as coarse as leaving a cluster
    out, so that the steps of counts (no match at all, one match) are not divided by nothing.
    """
    typical = np.abs(rows).mean(axis=0)
    slopes = np.zeros_like(sums)
    for column, size in enumerate(typical):
        here = sums[..., column]
        step = np.where(here == 0, size, np.minimum(size, np.abs(here) / 2))
        up, down = sums.copy(), sums.copy()
        up[..., column] += step
        down[..., column] -= np.where(here == 0, 0, step)
        width = up[..., column] - down[..., column]
        rise = of(up) - of(down)
        np.divide(rise, width, out=slopes[..., column], where=width > 0)
    return np.nan_to_num(slopes, nan=0.0, posinf=0.0, neginf=0.0)
