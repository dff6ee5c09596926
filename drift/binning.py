"""Bins that hold about the same number of reference values each, and counts in them.

Edges are values that occur, so a column of few values (a truth value, a rate) gets a bin for
each value, and the lowest and highest value are edges too: what lies outside the reference's
range has bins of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def quantile_edges(ordered: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """At most `bins` + 1 growing edges from sorted finite values; none when there are no values.

    The k-th edge is the value at rank ceil(k n / bins): NumPy's `inverted_cdf` quantile.
    """
    if not len(ordered):
        return np.empty(0)
    ranks = np.ceil(np.arange(bins + 1) * len(ordered) / bins).astype(np.int64) - 1
    edges: NDArray[np.float64] = np.unique(ordered[np.maximum(ranks, 0)])
    return edges


def bin_codes(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each value: 0 is at or under the first edge, len(edges) is over the last.

    Only for finite values; NaN would be counted as over the last edge.
    """
    return np.searchsorted(edges, values, side="left")


def bin_counts(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of the finite `values` lie in each of the len(edges) + 1 bins."""
    return np.bincount(bin_codes(values, edges), minlength=len(edges) + 1)


def ordered_bin_counts(
    ordered: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.int64]:
    """`bin_counts` of sorted values: as many searches as there are edges."""
    under = np.searchsorted(ordered, edges, side="right")
    counts: NDArray[np.int64] = np.diff(under, prepend=0, append=len(ordered))
    return counts
