"""One drift check from tables to values: the judgement, and for each column what to show of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drift.alarm import judge_window
from drift.binning import ordered_bin_counts
from drift.columns import monitored_columns, units_of, values_of
from drift.distances import ColumnDistances, missing_distance, sample_distances
from drift.history import History, WindowDistances
from drift.policy import DistanceName
from drift.profile import ColumnProfile, ReferenceProfile, Sample
from drift.windows import Basis

if TYPE_CHECKING:
    import pyarrow as pa

    from drift.policy import DriftPolicy
    from drift.verdicts import Judgement
    from drift.windows import Window

MISSING = "missing"
"""What the distance between the shares of missing values is called; it is always measured."""

_THREADS = 2
"""Columns that are sorted at a time; each needs two copies of its values."""


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
    distances: WindowDistances | None
    """What to keep for the windows to come; None where a side is empty or no span was given."""
    basis: Basis = Basis.SAME_HOURS
    """What the reference is."""


def assess(
    reference: pa.Table,
    window: pa.Table,
    policy: DriftPolicy,
    *,
    span: Window | None = None,
    basis: Basis = Basis.SAME_HOURS,
    release: int = 0,
    history: History | None = None,
) -> Assessment:
    """Judge the window and describe each column that the reference has.

    `span` is the window's stretch of time and `history` what windows before it were like; without
    them nothing is known of how days differ, and the outcome is at most Watch, faults aside.
    `basis` says what the reference is, `release` whose, where it is a release's.
    """
    asked = monitored_columns(reference.schema, policy.columns)
    present = tuple(name for name in asked if name in reference.column_names)
    with ThreadPoolExecutor(_THREADS) as threads:
        columns = tuple(
            threads.map(lambda name: _compare(name, reference, window, policy.bins), present)
        )
    distances = None
    if span and reference.num_rows and window.num_rows:
        units = [int(units_of(table, policy.unit).max()) + 1 for table in (window, reference)]
        values = _to_keep(columns, policy)
        distances = WindowDistances(span, basis, units[0], units[1], values, release)
    return Assessment(
        judge_window(reference, window, policy, distances, history or History.none()),
        ReferenceProfile(reference.num_rows, tuple(column.reference for column in columns)),
        columns,
        distances,
        basis,
    )


def _compare(name: str, reference: pa.Table, window: pa.Table, bins: int) -> ColumnComparison:
    ours = Sample.of_values(values_of(reference, name))
    profile = ColumnProfile.of_sample(name, ours, bins)
    if name in window.column_names:
        theirs = Sample.of_values(values_of(window, name))
    else:
        theirs = Sample(np.empty(0), window.num_rows, window.num_rows)
    finite = theirs.ordered
    counts = ordered_bin_counts(finite, np.asarray(profile.edges)).tolist() if len(finite) else []
    return ColumnComparison(
        reference=profile,
        window_rows=theirs.rows,
        window_missing=theirs.missing,
        window_mean=float(finite.mean()) if len(finite) else float("nan"),
        window_counts=tuple(counts),
        distances=sample_distances(profile, ours, theirs),
    )


def _to_keep(
    columns: tuple[ColumnComparison, ...], policy: DriftPolicy
) -> dict[tuple[str, str], float]:
    """The distances of each column, by column and name."""
    values: dict[tuple[str, str], float] = {}
    for column in columns:
        if column.distances:
            for name in policy.distances:
                values[column.name, str(name)] = _named(column.distances, name)
        ours, theirs = column.reference.missing_share, column.window_missing_share
        values[column.name, MISSING] = missing_distance(ours, theirs)
    return values


def _named(distances: ColumnDistances, name: DistanceName) -> float:
    return {
        DistanceName.WASSERSTEIN: distances.wasserstein,
        DistanceName.JENSEN_SHANNON: distances.jensen_shannon,
        DistanceName.PSI: distances.psi,
    }[name]
