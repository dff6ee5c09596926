"""Contracts of two tables that others write: an artifact's manifest, and the prediction log.

Values in, a report out: the caller has read the table, and decides what a broken one means.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from validation.expectations import ContractReport, Expectation, Expected, expect, validate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    import pandas as pd
    import pyarrow as pa

_PLAIN_PATH = r"^(?!/)(?!.*(?:^|/)\.{0,2}(?:/|\Z))[^\\\x00]+\Z"
"""No folder that is empty, `.` or `..`, no backslash, not absolute."""

_ALWAYS = ("at", "model", "release", "latency_ms")
"""Columns of a prediction record that a refused request has too."""

_PATTERNS: Mapping[str, tuple[str, str]] = {
    "text_hash": (r"^[0-9a-f]{16}\Z", "a name of 16 hex digits, never a text"),
    "script": (r"^[a-z]+\Z", "a script's name"),
    "redacted": (
        r'^\{("[A-Z_]+": \d+(, "[A-Z_]+": \d+)*)?\}\Z',
        "counts by entity, never what was found",
    ),
}
"""Texts of a record, and what they must look like."""

_LEAST_AND_MOST: Mapping[str, tuple[float | None, float | None]] = {
    "duration_s": (0, None),
    "rms": (0, None),
    "speech_ratio": (0, 1),
    "sample_rate": (1, None),
    "input_chars": (0, None),
    "unknown_token_rate": (0, 1),
    "frames": (0, None),
    "brightness": (0, 1),
    "motion": (0, None),
    "length_chars": (0, None),
    "token_count": (0, None),
    "chars_per_s": (0, None),
    "compression_ratio": (0, None),
    "average_log_probability": (None, 0),
    "entropy": (0, None),
    "no_speech_probability": (0, 1),
    "input_rms": (0, None),
    "output_rms": (0, None),
    "latency_ms": (0, None),
    "release": (1, None),
}


def check_manifest_contract(rows: Iterable[Mapping[str, Any]]) -> ContractReport:
    """Check the rows of an artifact's manifest: `path`, `size` in bytes, `sha256` in hex.

    Expected: at least one file, paths unique, plain, inside the folder and in Unicode's normal
    form C, whole sizes that are not negative, and digests of 64 lower-case hex digits.
    """
    import pandas as pd

    listed = [dict(row) for row in rows]
    table = pd.DataFrame(
        {
            "id": [str(row.get("path")) for row in listed],
            "path": [row.get("path") for row in listed],
            "path in NFC": [unicodedata.normalize("NFC", str(row.get("path"))) for row in listed],
            "size": [_whole(row.get("size")) for row in listed],
            "sha256": [row.get("sha256") for row in listed],
        }
    )
    expectations = [expect("TableRowCountToBeBetween", "the artifact holds a file", min_value=1)]
    if not table.empty:
        expectations += [
            expect("ColumnValuesToNotBeNull", f"every file has its {column}", column=column)
            for column in ("path", "size", "sha256")
        ]
        expectations += [
            expect("ColumnValuesToBeUnique", "no path stands twice", column="path"),
            expect(
                "ColumnValuesToMatchRegex",
                "paths are plain and stay inside the folder",
                column="id",
                regex=_PLAIN_PATH,
            ),
            expect(
                "ColumnPairValuesToBeEqual",
                "paths are in Unicode's normal form C",
                column_A="id",
                column_B="path in NFC",
            ),
            expect("ColumnValuesToBeBetween", "no size is negative", column="size", min_value=0),
            expect(
                "ColumnValuesToMatchRegex",
                "digests are SHA-256 in lower-case hex",
                column="sha256",
                regex=r"^[0-9a-f]{64}\Z",
            ),
        ]
    return validate([Expected("manifest", table, tuple(expectations))])


def check_predictions_contract(
    table: pa.Table, schema: pa.Schema, *, latest: datetime | None = None
) -> ContractReport:
    """Check a table of the prediction log against its schema and the ranges of its columns.

    Expected: at least one record, exactly the schema's columns in its types, time, model, release
    and latency filled, values in their ranges and texts of their pattern where they are not null,
    and no NaN or infinity in a column with a range. With `latest`, every time lies between the
    year 2000 and it. A failing row is named by its number in the table, from 0.
    """
    import pandas as pd

    present = [name for name in schema.names if name in table.column_names]
    columns = {name: table.column(name).to_pylist() for name in present}
    frame = pd.DataFrame({"id": [str(number) for number in range(table.num_rows)]})
    for name in present:
        frame[name] = _ranged(columns[name]) if name in _LEAST_AND_MOST else columns[name]
    expectations: list[Expectation] = [
        expect("TableRowCountToBeBetween", "the log holds a record", min_value=1)
    ]
    if table.num_rows:
        expectations += [
            expect("ColumnValuesToNotBeNull", f"every record has its {name}", column=name)
            for name in _ALWAYS
            if name in present
        ]
        expectations += [
            expect(
                "ColumnValuesToBeBetween",
                f"{name} is a number {_range(*bounds)}",
                column=name,
                min_value=_LOWEST if bounds[0] is None else bounds[0],
                max_value=_HIGHEST if bounds[1] is None else bounds[1],
            )
            for name, bounds in _LEAST_AND_MOST.items()
            if name in present and any(value is not None for value in columns[name])
        ]
        expectations += [
            expect("ColumnValuesToMatchRegex", f"{name} is {what}", column=name, regex=pattern)
            for name, (pattern, what) in _PATTERNS.items()
            if name in present and any(value is not None for value in columns[name])
        ]
    if table.num_rows and latest is not None and "at" in present:
        frame[_SECONDS] = [at and at.timestamp() for at in columns["at"]]
        expectations.append(
            expect(
                "ColumnValuesToBeBetween",
                f"times are from 2000 to {latest:%Y-%m-%d %H:%M} UTC",
                column=_SECONDS,
                min_value=_YEAR_2000,
                max_value=latest.timestamp(),
            )
        )
    records = Expected("records", frame, tuple(expectations))
    return validate([_types(table, schema), records])


_SECONDS, _YEAR_2000 = "at in seconds", 946_684_800.0
_LOWEST, _HIGHEST = -1e300, 1e300
"""Every number but the infinities."""


def _types(table: pa.Table, schema: pa.Schema) -> Expected:
    """One row a column, so that a failing row is a column's name."""
    import pandas as pd

    names = dict.fromkeys([*schema.names, *table.column_names])
    rows = [
        {
            "id": name,
            "type": str(table.schema.field(name).type) if name in table.column_names else "absent",
            "type of the schema": str(schema.field(name).type) if name in schema.names else "none",
        }
        for name in names
    ]
    return Expected(
        "columns",
        pd.DataFrame(rows),
        (
            expect(
                "ColumnPairValuesToBeEqual",
                "the columns are the schema's, in its types",
                column_A="type",
                column_B="type of the schema",
            ),
        ),
    )


def _ranged(values: list[float | None]) -> pd.Series[float]:
    """Numbers; null stays null, and what is not a number becomes infinite, so out of range."""
    import pandas as pd

    return pd.Series(
        [None if value is None else value if value == value else float("inf") for value in values],  # noqa: PLR0124 - NaN
        dtype="float64",
    )


def _range(least: float | None, most: float | None) -> str:
    if most is None:
        return f"from {least:g}"
    return f"up to {most:g}" if least is None else f"from {least:g} to {most:g}"


def _whole(size: object) -> int | None:
    return size if type(size) is int else None
