"""Values of text columns that the reference never had: a new language, a new kind of error.

A text column has no distance. What can be told is that something new turned up more often than
chance lets it: if window and reference were dealt from the same pool, all units that show one value
would rarely lie in the window alone.
"""

from __future__ import annotations

from math import exp, lgamma
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from drift.checks import Finding, FindingKind
from drift.columns import IDENTITY_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drift.checks import Side

_NO_CATEGORIES = IDENTITY_COLUMNS | {"text_hash", "text", "input_text", "redacted"}
"""People's words, and what stands for them: nearly every one is new."""
_LONGEST = 40


def categorical_columns(schema: pa.Schema, asked: Sequence[str] = ()) -> tuple[str, ...]:
    """Text columns to look at: those asked for, else all that name no record or answer."""
    return tuple(
        field.name
        for field in schema
        if _is_text(field.type)
        and (field.name in asked if asked else field.name not in _NO_CATEGORIES)
    )


def find_new_categories(
    reference: Side, window: Side, asked: Sequence[str], *, alpha: float
) -> tuple[Finding, ...]:
    """At most one finding a column: the new value that most units show.

    `alpha` is the chance of any over all columns and all values of each.
    """
    names = [
        name
        for name in categorical_columns(window.table.schema, asked)
        if reference.has(name) and _is_text(reference.table.schema.field(name).type)
    ]
    if not window.unit_count or not reference.unit_count:
        return ()
    found = (_newcomer(reference, window, name, alpha / len(names)) for name in names)
    return tuple(finding for finding in found if finding)


def _newcomer(reference: Side, window: Side, name: str, budget: float) -> Finding | None:
    known = pc.unique(reference.table.column(name).cast(pa.large_string()))
    values = window.table.column(name).cast(pa.large_string()).combine_chunks()
    new = pc.and_(pc.invert(pc.is_in(values, value_set=known)), pc.is_valid(values))
    rows = np.flatnonzero(pc.fill_null(new, fill_value=False).to_numpy(zero_copy_only=False))
    if not len(rows):
        return None
    codes = values.take(pa.array(rows)).dictionary_encode()
    pairs = np.unique(np.stack([codes.indices.to_numpy(), window.units[rows]]), axis=1)
    counts = np.bincount(pairs[0])
    most = int(counts.max())
    chance = min(
        1.0,
        _only_in_window(most, reference.unit_count, window.unit_count) * (len(counts) + len(known)),
    )
    if chance > budget:
        return None
    value = codes.dictionary[int(counts.argmax())].as_py()[:_LONGEST]
    detail = f"{value!r} is new, in {most} of {window.unit_count} units of the window"
    return Finding(FindingKind.NEW_CATEGORY, name, detail, chance)


def _only_in_window(showing: int, reference: int, window: int) -> float:
    """Chance that all `showing` units of reference and window together are the window's.

    Hypergeometric: C(window, showing) / C(reference + window, showing).
    """
    return exp(
        lgamma(window + 1)
        - lgamma(window - showing + 1)
        - lgamma(reference + window + 1)
        + lgamma(reference + window - showing + 1)
    )


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
