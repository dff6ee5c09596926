"""Reads the prediction log: hive partitions of Parquet, written by several servers at once.

A log is read while it is written, merged and moved, and after crashes: every record once. What is
odd about it is named and never ends a reading: a part that is damaged, a column that a release did
not write, a record that stands there twice, a clock that runs ahead, a store that is away.
Nothing is ever written.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from drift.record_hours import Found, SkippedPart, find_parts, hours_of, places_of
from drift.record_parts import HOUR_S, Hour, conform, outside, without_duplicates
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from registry.errors import UserError
from registry.names import check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drift.record_hours import Root
    from drift.record_places import Place

__all__ = ["AbsentColumns", "Records", "Remark", "SkippedPart", "read_records"]

CLOCKS_DIFFER_S = 60.0
"""How far a server's clock may run ahead before its records are of the future."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What is odd about a release's records, or about a place, and how many records it concerns.

    `kind` is `unreachable`, `duplicate`, `misplaced`, `future`, `dropped` or `unknown columns`.
    """

    kind: str
    path: str
    """The release's folder relative to the log's root, or the place."""
    records: int
    reason: str


@dataclass(frozen=True, slots=True)
class AbsentColumns:
    """Columns that a release's parts do not have, or have in another type: null in the table."""

    release: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Records:
    """Prediction records as a table of PREDICTION_SCHEMA, in order of time."""

    table: pa.Table
    parts: int
    """How many files were read."""
    skipped: tuple[SkippedPart, ...]
    absent: tuple[AbsentColumns, ...]
    remarks: tuple[Remark, ...] = ()


def read_records(
    root: Root,
    model: str,
    *,
    release: int | None = None,
    since: float,
    until: float,
    copies: bool = False,
    now: float | None = None,
) -> Records:
    """Every record of `model` with `since` <= at < `until` (UTC epoch seconds).

    A request that was mirrored was asked once and stands in the log twice, so the records of its
    copy are left out; with `copies` they are read too. A log that does not exist yet has no
    records. With `now`, records of the future are looked for and named. Raises UserError for a
    name that is no model's and for a time range that ends before it starts.
    """
    check_name(model)
    if not until > since:
        raise UserError(f"the time range ends before it starts: {since} to {until}")
    reading = _Reading(places_of(root), (_moment(since), _moment(until)), copies=copies)
    for hour in reading.hours(model):
        if release not in {None, hour.release}:
            continue
        if since // HOUR_S * HOUR_S <= hour.began < until:
            reading.take(hour, now)
        elif now is not None and hour.began > now + CLOCKS_DIFFER_S:
            reading.note_future(hour)
    return reading.records()


class _Reading:
    """What has been read so far."""

    def __init__(
        self, places: Sequence[Place], span: tuple[datetime, datetime], *, copies: bool
    ) -> None:
        self._places, self._span, self._copies = list(places), span, copies
        self._tables = [PREDICTION_SCHEMA.empty_table()]
        self._parts = 0
        self._skipped: list[SkippedPart] = []
        self._absent: dict[int, set[str]] = defaultdict(set)
        self._counts: dict[tuple[str, str], int] = defaultdict(int)
        self._unknown: dict[str, set[str]] = defaultdict(set)
        self._away: list[Remark] = []

    def hours(self, model: str) -> list[Hour]:
        """Every hour of the places that can be reached; the others are named."""
        found: set[Hour] = set()
        for place in list(self._places):
            try:
                found |= set(hours_of([place], model))
            except OSError as error:
                self._lose(place, error)
        return sorted(found)

    def take(self, hour: Hour, now: float | None) -> None:
        """Read the hour's records that are in the span."""
        found = self._find(hour)
        above = hour.folder.rpartition("/")[0]
        self._skipped += found.skipped
        tables = []
        for part in found.parts.values():
            table, absent, unknown = conform(part.table, hour)
            tables.append(table)
            self._parts += 1
            self._absent[hour.release] |= set(absent)
            self._unknown[above] |= set(unknown)
            self._count("dropped", above, part.dropped)
        tables, twice = without_duplicates(tables)
        self._count("duplicate", above, twice)
        for table in tables:
            self._count("misplaced", above, outside(table, hour))
            if now is not None:
                ahead = pa.scalar(_moment(now + CLOCKS_DIFFER_S), table["at"].type)
                self._count("future", above, pc.sum(pc.greater(table["at"], ahead)).as_py())
            self._tables.append(self._within(table))

    def note_future(self, hour: Hour) -> None:
        """Count the records of an hour that has not begun."""
        rows = sum(part.table.num_rows for part in self._find(hour).parts.values())
        self._count("future", hour.folder.rpartition("/")[0], rows)

    def records(self) -> Records:
        """All of it, in order of time."""
        remarks = [
            Remark(kind, path, count, _REASONS[kind].format(count))
            for (kind, path), count in sorted(self._counts.items())
        ]
        remarks += [
            Remark("unknown columns", path, 0, f"not read: {', '.join(sorted(names))}")
            for path, names in sorted(self._unknown.items())
            if names
        ]
        return Records(
            table=pa.concat_tables(self._tables).sort_by("at"),
            parts=self._parts,
            skipped=tuple(self._skipped),
            absent=tuple(
                AbsentColumns(number, tuple(sorted(names)))
                for number, names in sorted(self._absent.items())
                if names
            ),
            remarks=(*self._away, *remarks),
        )

    def _find(self, hour: Hour) -> Found:
        while self._places:
            try:
                return find_parts(self._places, hour)
            except OSError as error:
                if not self._lose_first_away(hour):
                    self._skipped.append(SkippedPart(hour.folder, _words(error)))
                    break
        return Found()

    def _lose_first_away(self, hour: Hour) -> bool:
        """Name a place that does not answer, and read on without it; whether there was one."""
        for place in list(self._places):
            try:
                place.files(hour.folder)
            except OSError as error:
                self._lose(place, error)
                return True
        return False

    def _lose(self, place: Place, error: OSError) -> None:
        self._places.remove(place)
        self._away.append(Remark("unreachable", place.name, 0, _words(error)))

    def _within(self, table: pa.Table) -> pa.Table:
        at = table.column("at")
        wanted = pc.and_(pc.greater_equal(at, self._span[0]), pc.less(at, self._span[1]))
        if not self._copies:
            shadow = pc.fill_null(table.column("shadow"), fill_value=False)
            wanted = pc.and_(wanted, pc.invert(shadow))
        return table.filter(wanted)

    def _count(self, kind: str, path: str, count: int | None) -> None:
        if count:
            self._counts[kind, path] += count


_REASONS = {
    "duplicate": "{} records stood there twice and were taken once",
    "dropped": "{} records were lost by the server that should have written them",
    "misplaced": "{} records stand in the folder of another hour than their own",
    "future": "{} records are of the future: a server's clock runs ahead",
}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _words(error: OSError) -> str:
    return " ".join(str(error).split())[:200]
