"""How a table of prediction records becomes numbers: values of a column, units of a window.

Every other file of this room sees float64 arrays in which NaN means missing. Null and NaN are
both missing here: the log writes null where a release gave no number, and older parts hold NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

IDENTITY_COLUMNS = frozenset(
    {"at", "session", "request", "model", "release", "variant", "hour", "shadow", "pinned"}
)
"""Columns that say which record it is: they change from window to window and are no drift."""


def monitored_columns(schema: pa.Schema, asked: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns to compare: those asked for, else every number or truth value of `schema`."""
    if asked:
        return tuple(asked)
    return tuple(
        field.name
        for field in schema
        if field.name not in IDENTITY_COLUMNS and is_numeric(field.type)
    )


def is_numeric(kind: pa.DataType) -> bool:
    """Whether values of this type can be compared as numbers; truth values can (0 and 1)."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def values_of(table: pa.Table, name: str) -> NDArray[np.float64]:
    """The column as float64 [rows], missing values as NaN. Raises KeyError when it is absent.

    A column that is no number at all (a release that wrote text) is all missing.
    """
    column = table.column(name)
    if not is_numeric(column.type):
        return np.full(table.num_rows, np.nan)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    column = column.cast(pa.float64(), safe=False)
    if column.null_count:
        column = pc.fill_null(column, float("nan"))
    array: NDArray[np.float64] = column.to_numpy()
    return array


def units_of(table: pa.Table, column: str) -> NDArray[np.int64]:
    """For each row, the number of its unit: int64 [rows], 0 to units - 1.

    A unit is what answers are independent between: a session. Rows without one (null, empty, or
    no such column) are units of their own, as a request without a session is.
    """
    rows = table.num_rows
    if column not in table.column_names:
        return np.arange(rows, dtype=np.int64)
    names = table.column(column).cast(pa.large_string()).combine_chunks().dictionary_encode()
    codes: NDArray[np.int64] = pc.fill_null(names.indices.cast(pa.int64()), -1).to_numpy().copy()
    empty = pc.index(names.dictionary, "").as_py()
    alone = (codes < 0) | (codes == empty)
    codes[alone] = len(names.dictionary) + np.arange(np.count_nonzero(alone))
    _, dense = np.unique(codes, return_inverse=True)
    return dense.astype(np.int64)
