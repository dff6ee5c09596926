"""One drift check from tables to values: the judgement, and for each column what to show of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drift.alarm import Judgement, judge_window
from drift.binning import bin_counts
from drift.columns import monitored_columns, values_of
from drift.distances import ColumnDistances, column_distances
from drift.profile import ReferenceProfile

if TYPE_CHECKING:
    import pyarrow as pa

    from drift.policy import DriftPolicy
    from drift.profile import ColumnProfile


@dataclass(frozen=True, slots=True)
class ColumnComparison:
    """One column of window and reference, as the report shows it."""

    reference: ColumnProfile
    window_rows: int
    window_missing: int
    window_mean: float
    """Over finite values; NaN when there are none."""
    window_counts: tuple[int, ...]
    """Finite values of the window in the reference's bins; empty when it has none."""
    distances: ColumnDistances | None
    """None when one side has no finite value."""

    @property
    def name(self) -> str:
        """The column."""
        return self.reference.name

    @property
    def window_missing_share(self) -> float:
        """Share of the window's rows without a value, 0 to 1."""
        return self.window_missing / self.window_rows if self.window_rows else 0.0


@dataclass(frozen=True, slots=True)
class Assessment:
    """Everything known of one window."""

    judgement: Judgement
    profile: ReferenceProfile
    columns: tuple[ColumnComparison, ...]


def assess(reference: pa.Table, window: pa.Table, policy: DriftPolicy) -> Assessment:
    """Judge the window and describe each column that the reference has."""
    asked = monitored_columns(reference.schema, policy.columns)
    present = tuple(name for name in asked if name in reference.column_names)
    profile = ReferenceProfile.of_table(reference, present, policy.bins)
    columns = tuple(_compare(column, reference, window) for column in profile.columns)
    return Assessment(judge_window(reference, window, policy), profile, columns)


def _compare(column: ColumnProfile, reference: pa.Table, window: pa.Table) -> ColumnComparison:
    if column.name in window.column_names:
        values = values_of(window, column.name)
    else:
        values = np.full(window.num_rows, np.nan)
    finite = values if np.all(np.isfinite(values)) else values[np.isfinite(values)]
    sample = values_of(reference, column.name)
    return ColumnComparison(
        reference=column,
        window_rows=len(values),
        window_missing=int(np.count_nonzero(np.isnan(values))),
        window_mean=float(finite.mean()) if len(finite) else float("nan"),
        window_counts=tuple(bin_counts(finite, np.asarray(column.edges)).tolist())
        if len(finite)
        else (),
        distances=column_distances(column, finite, sample),
    )
