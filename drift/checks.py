"""Faults of a column that no distance shows: absent, all missing, constant, not finite.

They come before any distance, because a distance drops missing values in silence and a constant
column can look close. A column that was already so in the reference is no finding. What could
happen by chance (few rows with the same value) is weighed exactly: the chance of it in a window
drawn from reference and window together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import exp, lgamma
from typing import TYPE_CHECKING

import numpy as np

from drift.columns import values_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray


class FindingKind(StrEnum):
    """What is wrong with a column, or with the whole window."""

    EMPTY_WINDOW = "empty window"
    MISSING_COLUMN = "missing column"
    ALL_MISSING = "all missing"
    CONSTANT = "constant"
    NON_FINITE = "non-finite"
    NEW_CATEGORY = "new category"
    NO_REFERENCE = "no reference"
    UNKNOWN_RELEASE = "unknown release"
    SCHEMA_CHANGE = "schema change"
    CLOCK_AHEAD = "clock ahead"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault; `column` is empty when it is the window's.

    `chance` is how often a window without drift would show it, 0 for what chance cannot do.
    """

    kind: FindingKind
    column: str
    detail: str
    chance: float = 0.0


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its table and, for each row, its unit (int64 [rows])."""

    table: pa.Table
    units: NDArray[np.int64]

    @property
    def unit_count(self) -> int:
        """How many independent units the side has."""
        return int(self.units.max()) + 1 if len(self.units) else 0

    def has(self, name: str) -> bool:
        """Whether the side has that column at all."""
        return name in self.table.column_names


def find_faults(
    reference: Side, window: Side, columns: Sequence[str], *, alpha: float
) -> tuple[Finding, ...]:
    """Every fault of the window that chance shows less often than `alpha` over all columns."""
    if not window.table.num_rows:
        return (Finding(FindingKind.EMPTY_WINDOW, "", "no request was recorded in the window"),)
    budget = alpha / max(1, len(columns))
    found = (_fault(reference, window, name, budget) for name in columns if reference.has(name))
    return tuple(finding for finding in found if finding)


def _fault(reference: Side, window: Side, name: str, budget: float) -> Finding | None:
    if not window.has(name):
        return Finding(FindingKind.MISSING_COLUMN, name, "the window's records do not have it")
    theirs = values_of(window.table, name)
    ours = values_of(reference.table, name)
    missing = np.isnan(theirs)
    if missing.all():
        return _all_missing(reference, window, name, ours, budget)
    infinite = np.isinf(theirs)
    if infinite.any() and not np.isinf(ours).any():
        detail = f"{np.count_nonzero(infinite)} of {len(theirs)} values are infinite"
        return Finding(FindingKind.NON_FINITE, name, detail)
    present = theirs[~missing] if missing.any() else theirs
    if (present == present[0]).all():
        return _constant(reference, window, name, (ours, theirs), budget)
    return None


def _all_missing(
    reference: Side, window: Side, name: str, ours: NDArray[np.float64], budget: float
) -> Finding | None:
    without = reference.unit_count - _units_with(reference, ~np.isnan(ours))
    chance = _chance_of_all(without, reference.unit_count, window.unit_count)
    if chance > budget:
        return None
    share = np.count_nonzero(np.isnan(ours)) / len(ours) if len(ours) else 0.0
    detail = f"every value is missing, {share:.1%} were in the reference"
    return Finding(FindingKind.ALL_MISSING, name, detail, chance)


def _constant(
    reference: Side,
    window: Side,
    name: str,
    values: tuple[NDArray[np.float64], NDArray[np.float64]],
    budget: float,
) -> Finding | None:
    """The first unit fixes the value; the chance is that of all others showing it too."""
    ours, theirs = values
    value = theirs[~np.isnan(theirs)][0]
    present = _units_with(reference, ~np.isnan(ours))
    same = present - _units_with(reference, ~np.isnan(ours) & (ours != value))
    units = _units_with(window, ~np.isnan(theirs))
    chance = _chance_of_all(same, present, units - 1)
    if chance > budget:
        return None
    share = same / present if present else 0.0
    detail = f"every value is {value:g}, as in {share:.1%} of the reference's units"
    return Finding(FindingKind.CONSTANT, name, detail, chance)


def _units_with(side: Side, rows: NDArray[np.bool_]) -> int:
    """How many units have at least one of the marked rows."""
    if side.unit_count == len(side.units):
        return int(np.count_nonzero(rows))
    return len(np.unique(side.units[rows]))


def _chance_of_all(marked: int, reference: int, window: int) -> float:
    """Chance that all `window` units are marked ones, when `marked` of `reference` are, besides.

    Hypergeometric, given that reference and window are exchangeable:
    C(marked + window, window) / C(reference + window, window).
    """
    if window <= 0:
        return 1.0
    return exp(
        lgamma(marked + window + 1)
        - lgamma(marked + 1)
        - lgamma(reference + window + 1)
        + lgamma(reference + 1)
    )
