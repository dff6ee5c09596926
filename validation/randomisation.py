"""Approximate randomisation by whole clusters: either system could have given these answers.

If two systems are equal, a speaker's two sets of answers could have been swapped (Noreen 1989;
Riezler & Maxwell 2005), which turns the sign of the speaker's share of the difference. Tried
against any assumed difference and turned round, the same test gives an interval. It takes the
shares to be symmetric about the truth: where a few speakers carry the harm they are not, and
`estimate` widens its interval for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK_CELLS = 4_000_000
_NO_SPREAD = 1e-9


@dataclass(frozen=True, slots=True)
class ClusterRandomisation:
    """A value, its standard error over clusters, and the shifts at which the test turns.

    With `rises` and `falls`, float64 [resamples], growing: a truth `shift` above (below) the value
    is as far out as the share of `rises` (`falls`) that is at least `shift`.
    """

    value: float
    standard_error: float
    clusters: int
    rises: NDArray[np.float64]
    falls: NDArray[np.float64]
    skewness: float = 0.0
    """Of the clusters' shares, for bounds that must not take them to be symmetric."""

    def lower(self, tail: float) -> float:
        """Bound that the true value is below with a chance of `tail`, 0 < tail < 0.5."""
        return self.value - float(self.falls[-self._rank(tail)])

    def upper(self, tail: float) -> float:
        """Bound that the true value is above with a chance of `tail`, 0 < tail < 0.5."""
        return self.value + float(self.rises[-self._rank(tail)])

    def p_value(self, limit: float) -> float:
        """One-sided p-value of "the true value is `limit` or more"."""
        return self._share(self.rises, limit - self.value)

    def p_above(self, limit: float) -> float:
        """One-sided p-value of "the true value is `limit` or less"."""
        return self._share(self.falls, self.value - limit)

    def _share(self, shifts: NDArray[np.float64], shift: float) -> float:
        if self.standard_error == 0:
            return 0.0 if shift > 0 else 1.0
        beyond = shifts.size - int(np.searchsorted(shifts, shift, side="left"))
        return (beyond + 1) / (shifts.size + 1)

    def _rank(self, tail: float) -> int:
        return max(1, int(tail * (self.rises.size + 1) + 1e-9))


def randomise(
    value: float,
    shares: NDArray[np.float64],
    sizes: NDArray[np.float64],
    *,
    resamples: int,
    seed: int,
) -> ClusterRandomisation:
    """Turn the signs of clusters at random, each with a chance of one half.

    `shares` are what each cluster adds to the value's deviation (its influences, sum 0), `sizes`
    how much of the set it is (sum 1), both float64 [clusters]. Under a truth of value + shift,
    cluster g adds shares[g] - shift sizes[g], and its sign is arbitrary. Raises ValueError for
    fewer than two clusters.
    """
    count = shares.size
    if count < 2:
        raise ValueError("a randomisation test needs two clusters")
    error = float(np.sqrt((shares**2).sum() * count / (count - 1)))
    if error <= _NO_SPREAD * max(abs(value), 1.0):
        return ClusterRandomisation(value, 0.0, count, np.zeros(resamples), np.zeros(resamples))
    random = np.random.Generator(np.random.PCG64(seed))
    turned = np.empty((resamples, 2))
    block = max(1, _BLOCK_CELLS // count)
    columns = np.column_stack([shares, sizes])
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        signs = 2.0 * random.integers(0, 2, (size, count), dtype=np.int8) - 1
        turned[start : start + size] = signs @ columns
    # Turned shares - shift turned sizes <= - shift: solved for the shift.
    room = 1 - turned[:, 1]
    rises, falls = (
        np.divide(side, room, out=np.full(resamples, np.inf), where=room > 1e-12)
        for side in (-turned[:, 0], turned[:, 0])
    )
    skewness = float((shares**3).mean() / (shares**2).mean() ** 1.5)
    return ClusterRandomisation(value, error, count, np.sort(rises), np.sort(falls), skewness)
