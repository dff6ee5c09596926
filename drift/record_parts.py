"""The parts of a prediction log: their names, what they replace, and their rows in one schema.

A server writes many small parts; somebody merges those of an hour that is over into one, which
names in its footer what it replaces. It is written before they are deleted, so for a while both
stand side by side, and a reader passes over what is replaced. Pure: bytes and tables in, values
out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model_repository.programs.common.prediction_log import DROPPED, PREDICTION_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MERGED, IMPORTED = "merged-", "import-"
"""How the names of parts begin that no server wrote."""
REPLACES = b"sluice.replaces"
"""Key of a merged part's metadata: a JSON list of names in its own folder."""
HOUR_S = 3600

_HOUR = re.compile(r"hour=(\d{10})")
_RELEASE = re.compile(r"release=(\d{1,18})")
_TIME = PREDICTION_SCHEMA.field("at").type


class DamagedPartError(Exception):
    """A part that cannot be read; its text says why."""


@dataclass(frozen=True, slots=True, order=True)
class Hour:
    """One hour of one release: a folder of parts."""

    model: str
    release: int
    began: int
    """UTC epoch seconds."""

    @property
    def folder(self) -> str:
        """Relative to the log's root."""
        return f"model={self.model}/release={self.release}/hour={hour_name(self.began)}"

    @property
    def ended(self) -> int:
        """UTC epoch seconds."""
        return self.began + HOUR_S


@dataclass(frozen=True, slots=True)
class Part:
    """What one file holds."""

    table: pa.Table
    replaces: frozenset[str] = frozenset()
    dropped: int = 0
    """Records that its writer lost since the part before."""


def hour_name(began: float) -> str:
    """`2026112102`, in UTC."""
    import time

    return time.strftime("%Y%m%d%H", time.gmtime(began))


def hour_of(folder: str) -> int | None:
    """When the hour of the folder named `hour=2026112102` began; None for another name."""
    from calendar import timegm
    from time import strptime

    match = _HOUR.fullmatch(folder)
    try:
        return timegm(strptime(match[1], "%Y%m%d%H")) if match else None
    except ValueError:
        return None


def release_of(folder: str) -> int | None:
    """The number in `release=3`; None for another name."""
    match = _RELEASE.fullmatch(folder)
    return int(match[1]) if match else None


def is_part(name: str) -> bool:
    """Whether a file of this name is a part: staged and hidden ones are not."""
    return name.endswith(".parquet") and not name.startswith((".", "_"))


def read_part(content: bytes) -> Part:
    """What the file's bytes hold. Raises DamagedPartError."""
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            table = file.read(use_threads=False)
            metadata = file.schema_arrow.metadata or {}
        replaces = json.loads(metadata.get(REPLACES, b"[]"))
        dropped = int(metadata.get(DROPPED, b"0"))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedPartError(" ".join(str(error).split())[:200]) from error
    if "at" not in table.column_names:
        raise DamagedPartError("it has no column `at`")
    try:
        at = table.column("at").cast(_TIME)
    except pa.ArrowException as error:
        raise DamagedPartError("its column `at` holds no times") from error
    table = table.set_column(table.column_names.index("at"), "at", at)
    return Part(table.replace_schema_metadata(None), frozenset(map(str, replaces)), dropped)


def merged_name(replaced: Iterable[str]) -> str:
    """The name of the part that replaces these: of the same ones always the same."""
    digest = hashlib.sha256("\n".join(sorted(replaced)).encode()).hexdigest()
    return f"{MERGED}{digest[:24]}.parquet"


def write_part(table: pa.Table, *, replaces: Iterable[str] = (), dropped: int = 0) -> bytes:
    """The file of a part."""
    metadata = {REPLACES: json.dumps(sorted(replaces)).encode(), DROPPED: str(dropped).encode()}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def conform(table: pa.Table, hour: Hour) -> tuple[pa.Table, tuple[str, ...], tuple[str, ...]]:
    """The table in the log's schema, the columns made up as null, and those it has on top.

    The folders' names are the truth about model and release.
    """
    known = {"model": pa.scalar(hour.model), "release": pa.scalar(hour.release)}
    columns, absent = [], []
    for field in PREDICTION_SCHEMA:
        column = None
        if field.name in known:
            column = pa.repeat(known[field.name].cast(field.type), table.num_rows)
        elif field.name in table.column_names:
            column = _cast(table.column(field.name), field.type)
        if column is None:
            absent.append(field.name)
            column = pa.nulls(table.num_rows, field.type)
        columns.append(column)
    added = sorted(set(table.column_names) - set(PREDICTION_SCHEMA.names))
    return pa.table(columns, schema=PREDICTION_SCHEMA), tuple(absent), tuple(added)


def without_duplicates(tables: Sequence[pa.Table]) -> tuple[list[pa.Table], int]:
    """The tables of several parts of one hour, a record that a part before holds left out.

    A record is the same when every value is, and it has a request's name. Two like rows of one
    part both stay: a request may hold the same question twice.
    """
    tables = list(tables)
    suspects = _suspects(tables)
    if not suspects:
        return tables, 0
    seen: Counter[str] = Counter()
    found, dropped = [], 0
    for table in tables:
        pairs = _pairs(table)
        asked = [row for row, pair in enumerate(pairs) if pair in suspects]
        own: Counter[str] = Counter()
        extra = set()
        for row, values in zip(
            asked, table.take(pa.array(asked, pa.int64())).to_pylist(), strict=True
        ):
            identity = repr(sorted(values.items()))
            own[identity] += 1
            if own[identity] <= seen[identity]:
                extra.add(row)
        seen |= own
        dropped += len(extra)
        if extra:
            table = table.filter(pa.array([row not in extra for row in range(table.num_rows)]))  # noqa: PLW2901
        found.append(table)
    return found, dropped


def outside(table: pa.Table, hour: Hour) -> int:
    """How many records have a time that is not of the hour."""
    at = table.column("at").cast(pa.int64())
    inside = pc.and_(
        pc.greater_equal(at, hour.began * 1_000_000), pc.less(at, hour.ended * 1_000_000)
    )
    return int(table.num_rows - (pc.sum(inside).as_py() or 0))


def _suspects(tables: Sequence[pa.Table]) -> set[tuple[str, Any]]:
    """Request and time of what stands in more than one part."""
    parts = [
        pa.table(
            {
                "request": table.column("request"),
                "at": table.column("at"),
                "part": pa.repeat(pa.scalar(number), table.num_rows),
            }
        )
        for number, table in enumerate(tables)
        if "request" in table.column_names
        and pa.types.is_string(table.schema.field("request").type)
    ]
    if len(parts) < 2:
        return set()
    rows = pa.concat_tables(parts)
    rows = rows.filter(pc.fill_null(pc.not_equal(rows["request"], ""), fill_value=False))
    groups = rows.group_by(["request", "at"]).aggregate([("part", "count_distinct")])
    groups = groups.filter(pc.greater(groups["part_count_distinct"], 1))
    return set(_pairs(groups))


def _pairs(table: pa.Table) -> list[tuple[str, Any]]:
    if "request" not in table.column_names:
        return [("", None)] * table.num_rows
    at = table.column("at").cast(pa.int64()).to_pylist()
    return list(zip(table.column("request").to_pylist(), at, strict=True))


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    """The column in another type; None when its values do not fit."""
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
