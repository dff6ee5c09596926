"""Reads the prediction log: hive partitions of Parquet, written by several servers at once.

A log is read while it is written and after crashes. A part that is cut off or damaged is left
out and named; a column that a release did not write is null and named. Nothing is ever written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from registry.errors import UserError
from registry.names import check_name

if TYPE_CHECKING:
    from pathlib import Path

_TIME = PREDICTION_SCHEMA.field("at").type
_PARTITION = re.compile(r"release=(\d{1,18})/hour=(\d{10})")


@dataclass(frozen=True, slots=True)
class SkippedPart:
    """A file of the log that could not be read, and why."""

    path: str
    """Relative to the log's root."""
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


def read_records(
    root: Path,
    model: str,
    *,
    release: int | None = None,
    since: float,
    until: float,
    copies: bool = False,
) -> Records:
    """Every record of `model` with `since` <= at < `until` (UTC epoch seconds).

    A request that was mirrored was asked once and stands in the log twice, so the records of its
    copy are left out; with `copies` they are read too. A log that does not exist yet has no
    records. Raises UserError for a name that is no model's and for a time range that ends before
    it starts.
    """
    check_name(model)
    if not until > since:
        raise UserError(f"the time range ends before it starts: {since} to {until}")
    span = (_moment(since), _moment(until))
    tables, skipped = [PREDICTION_SCHEMA.empty_table()], []
    absent: dict[int, set[str]] = {}
    for path, number in _parts(root, model, release, span):
        result = _read(path, span, copies=copies)
        if isinstance(result, str):
            skipped.append(SkippedPart(path.relative_to(root).as_posix(), result))
            continue
        table, without = _conform(result, model, number)
        tables.append(table)
        if without:
            absent.setdefault(number, set()).update(without)
    return Records(
        table=pa.concat_tables(tables).sort_by("at"),
        parts=len(tables) - 1,
        skipped=tuple(skipped),
        absent=tuple(
            AbsentColumns(number, tuple(sorted(names))) for number, names in sorted(absent.items())
        ),
    )


def _parts(
    root: Path, model: str, release: int | None, span: tuple[datetime, datetime]
) -> list[tuple[Path, int]]:
    """The files that hold such records, by the names of their folders, and their releases."""
    folder = root / f"model={model}"
    first, last = (f"{moment:%Y%m%d%H}" for moment in span)
    found = []
    for path in sorted(folder.glob("release=*/hour=*/*.parquet")):
        match = _PARTITION.fullmatch(path.parent.relative_to(folder).as_posix())
        if not match or path.name.startswith((".", "_")):
            continue
        number = int(match[1])
        if first <= match[2] <= last and release in {None, number}:
            found.append((path, number))
    return found


def _read(path: Path, span: tuple[datetime, datetime], *, copies: bool) -> pa.Table | str:
    """The part's records inside the span, or why they cannot be had.

    Parts are many and small (one a second), so each is read whole: a filter pushed into
    Arrow's dataset costs three times as long.
    """
    try:
        with pq.ParquetFile(path) as part:
            table = part.read(use_threads=False)
        if "at" not in table.column_names:
            return "it has no column `at`"
        at = table.column("at").cast(_TIME)
        wanted = pc.and_(pc.greater_equal(at, span[0]), pc.less(at, span[1]))
        if not copies and "shadow" in table.column_names:
            shadow = pc.fill_null(table.column("shadow").cast(pa.bool_()), fill_value=False)
            wanted = pc.and_(wanted, pc.invert(shadow))
        return table.filter(wanted)
    except (pa.ArrowException, OSError) as error:
        return " ".join(str(error).split())[:200]


def _conform(table: pa.Table, model: str, release: int) -> tuple[pa.Table, list[str]]:
    """The table in the log's schema, and the columns that had to be made up as null.

    The folders' names are the truth about model and release.
    """
    known = {"model": pa.scalar(model), "release": pa.scalar(release)}
    columns, absent = [], []
    for field in PREDICTION_SCHEMA:
        column = None
        if field.name in known:
            column = _repeat(known[field.name].cast(field.type), table.num_rows)
        elif field.name in table.column_names:
            column = _cast(table.column(field.name), field.type)
        if column is None:
            absent.append(field.name)
            column = pa.nulls(table.num_rows, field.type)
        columns.append(column)
    return pa.table(columns, schema=PREDICTION_SCHEMA), absent


def _repeat(value: pa.Scalar, rows: int) -> pa.Array:
    return pa.repeat(value, rows)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    """The column in another type; None when its values do not fit."""
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
