"""What of two sides can be compared at all, when releases do not record the same columns.

A column that a release does not write is null in every row of that release. That says something
about the release and nothing about the traffic, so it must be neither missing nor drifted. Each row
is asked by its own release: the share of a side's rows that could not have a column decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from drift.columns import IDENTITY_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drift.records import Records

STRAY = 0.05
"""So few rows of a side (a pinned request to an old release) do not take a column from all the
others: they are left out themselves."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Records, and which columns each release among them does not write."""

    table: pa.Table
    unwritten: Mapping[int, frozenset[str]]

    @classmethod
    def of(cls, read: Iterable[Records], empty: pa.Schema) -> Rows:
        """Several stretches of the log as one; of none of them, no row of `empty`'s columns."""
        tables, unwritten = [empty.empty_table()], dict[int, frozenset[str]]()
        for records in read:
            tables.append(records.table)
            for absent in records.absent:
                known = unwritten.get(absent.release, frozenset())
                unwritten[absent.release] = known | frozenset(absent.columns)
        return cls(pa.concat_tables(tables), unwritten)

    def of_releases(self, releases: frozenset[int]) -> Rows:
        """The rows that one of those releases answered."""
        wanted = pc.is_in(self.table.column("release"), pa.array(sorted(releases), pa.int64()))
        return Rows(self.table.filter(wanted), self.unwritten)

    @property
    def releases(self) -> tuple[int, ...]:
        """Who answered, in growing order."""
        return tuple(sorted(pc.unique(self.table.column("release")).to_pylist()))

    def lacking(self) -> dict[str, float]:
        """For each column that some rows could not have, their share of the side."""
        counts = pc.value_counts(self.table.column("release")).to_pylist()
        shares: dict[str, float] = {}
        for entry in counts:
            for name in self.unwritten.get(entry["values"], ()):
                shares[name] = shares.get(name, 0.0) + entry["counts"] / self.table.num_rows
        return {name: share for name, share in shares.items() if name not in IDENTITY_COLUMNS}


@dataclass(frozen=True, slots=True)
class Comparable:
    """Both sides with the columns, and the rows, that can be compared."""

    reference: pa.Table
    window: pa.Table
    left_out: tuple[str, ...]
    """Columns that more than a few rows of a side could not have."""
    strays: int
    """Rows left out, because they could not have what nearly all others have."""


def comparable(reference: Rows, window: Rows) -> Comparable:
    """Drop what one side's releases do not write: columns, and rows where they are few."""
    lacking = (reference.lacking(), window.lacking())
    left_out = {name for shares in lacking for name, share in shares.items() if share > STRAY}
    kept = [
        _without_strays(part, shares, left_out)
        for part, shares in zip((reference, window), lacking, strict=True)
    ]
    tables = [
        table.drop_columns([name for name in left_out if name in table.column_names])
        for table in kept
    ]
    rows = reference.table.num_rows + window.table.num_rows
    return Comparable(
        tables[0],
        tables[1],
        tuple(sorted(left_out)),
        rows - tables[0].num_rows - tables[1].num_rows,
    )


def _without_strays(part: Rows, shares: Mapping[str, float], left_out: set[str]) -> pa.Table:
    wanted = shares.keys() - left_out
    if not wanted:
        return part.table
    whole = [
        release
        for release in part.releases
        if not wanted & part.unwritten.get(release, frozenset())
    ]
    return part.of_releases(frozenset(whole)).table
