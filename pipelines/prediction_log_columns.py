"""A user's own table as prediction records: their columns under our names, in our types.

What does not fit is named by row and column. Texts are redacted like those that a program writes.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from model_repository.programs.common.prediction_log import FAILED, PREDICTION_SCHEMA, TEXTS
from model_repository.programs.common.redaction import redact
from registry.errors import UserError
from validation.expectations import ROWS_NAMED, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GIVEN = ("model", "redacted")
"""Columns that nobody may map: the command's, and what comes of redacting."""


@dataclass(frozen=True, slots=True)
class Conformed:
    """Their table in PREDICTION_SCHEMA; sentences for what does not fit, and what was not used."""

    table: pa.Table
    refused: tuple[str, ...]
    unused: tuple[str, ...]


def parse_mapping(given: Sequence[str]) -> dict[str, str]:
    """`column=theirs`, several. Raises UserError for another form or a column that is not ours."""
    mapping = {}
    for one in given:
        ours, equals, theirs = one.partition("=")
        allowed = [name for name in PREDICTION_SCHEMA.names if name not in _GIVEN]
        if not equals or not theirs or ours not in allowed:
            raise UserError(
                f"--map {one}: {ours!r} is none of {', '.join(allowed)}"
                if equals
                else f"--map {one} says nothing",
                remedy="write --map column=theirs, such as --map latency_ms=took",
            )
        mapping[ours] = theirs
    return mapping


def conform_theirs(
    theirs: pa.Table, mapping: Mapping[str, str], *, model: str, release: int | None
) -> Conformed:
    """Their columns as ours: mapped ones, and those that are called alike.

    Times are ISO 8601, Parquet's own, or seconds since 1970; without a zone they are UTC. Raises
    UserError for a mapped column that they do not have, and where nothing says the release.
    """
    if missing := sorted(set(mapping.values()) - set(theirs.column_names)):
        raise UserError(
            f"there is no column {missing[0]!r}",
            remedy=f"there are {', '.join(theirs.column_names)}",
        )
    rows, refused, used, columns = theirs.num_rows, [], set(), {}
    for field in PREDICTION_SCHEMA:
        name = mapping.get(field.name, field.name)
        fixed = {"model": model, "release": release}.get(field.name)
        if fixed is not None or name not in theirs.column_names or field.name in _GIVEN:
            columns[field.name] = pa.array([fixed] * rows, field.type)
            continue
        used.add(name)
        values, broken = _values(theirs.column(name), field)
        columns[field.name] = pa.array(values, field.type)
        if broken:
            refused.append(_sentence(field, name, broken))
    if release is None and columns["release"].null_count == rows:
        raise UserError("nothing says the release", remedy="give --release N or --map release=...")
    columns |= _redacted(columns)
    table = pa.table(columns, schema=PREDICTION_SCHEMA)
    unused = tuple(name for name in theirs.column_names if name not in used)
    return Conformed(table, tuple(refused), unused)


def _values(column: pa.ChunkedArray, field: pa.Field) -> tuple[list[Any], list[int]]:
    """The values in our type, None where one does not fit, and the rows of those."""
    convert = (
        _time if field.name == "at" else lambda value: pa.scalar(value).cast(field.type).as_py()
    )
    found, broken = [], []
    for row, value in enumerate(column.to_pylist()):
        try:
            found.append(None if value is None else convert(value))
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            found.append(None)
            broken.append(row)
    return found, broken


def _time(value: Any) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    if not isinstance(value, datetime):
        raise TypeError(value)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _redacted(columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """The columns of texts, and what was taken out of them."""
    kept: dict[str, list[Any]] = {name: columns[name].to_pylist() for name in TEXTS}
    counts: list[str | None] = []
    for row in range(len(columns["at"])):
        found: Counter[str] = Counter()
        has_text = any(kept[name][row] is not None for name in TEXTS)
        for name in TEXTS:
            if (text := kept[name][row]) is None:
                continue
            try:
                redacted = redact(text)
            except ValueError:
                kept[name][row] = None
                found[FAILED] += 1
            else:
                kept[name][row] = redacted.text
                found.update(redacted.counts)
        counts.append(json.dumps(found, sort_keys=True) if has_text else None)
    return {
        name: pa.array(values, pa.string())
        for name, values in (kept | {"redacted": counts}).items()
    }


def _sentence(field: pa.Field, name: str, rows: Sequence[int]) -> str:
    named = ", ".join(map(str, rows[:ROWS_NAMED]))
    more = f" and {len(rows) - ROWS_NAMED} more" if len(rows) > ROWS_NAMED else ""
    return f"{field.name}: {printable(name)!r} is no {field.type} in rows {named}{more}"
