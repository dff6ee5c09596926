"""Evidently's own data-drift page, beside ours, for whoever wants its view too.

It decides nothing here: without drift it flags 40 % of windows of 500 rows over 12 columns. Its
page holds a script of its own; the content policy that is put into it lets that run and ask
nobody anything. Making one sends nothing either: only Evidently's own server has telemetry.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drift.columns import values_of
from registry.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

MOST_ROWS = 20_000
"""Of a side; of more, so many are drawn at random. A million take Evidently 90 s and 1.2 GB."""

CONTENT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; worker-src blob:"
)


@dataclass(frozen=True, slots=True)
class EvidentlyPage:
    """What was written."""

    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    """Columns that it could not take."""
    rows: tuple[int, int]
    """Of reference and window, as they were given to it."""


def write_evidently(
    reference: pa.Table,
    window: pa.Table,
    columns: Sequence[str],
    path: Path,
    *,
    most_rows: int = MOST_ROWS,
    seed: int = 1,
) -> EvidentlyPage | None:
    """Write Evidently's own data-drift page; None when there is no column that it could take.

    Evidently refuses a whole report for one column that is absent or has no value, so those are
    left out. Importing it takes seconds: only when asked for.
    """
    usable = [name for name in columns if _usable(reference, name) and _usable(window, name)]
    if not usable:
        return None
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=usable)
    draw = np.random.default_rng(seed)
    ours, theirs = (_some(table, most_rows, draw) for table in (reference, window))
    frames = [
        Dataset.from_pandas(
            pd.DataFrame({name: values_of(table, name) for name in usable}),
            data_definition=definition,
        )
        for table in (theirs, ours)
    ]
    with warnings.catch_warnings():
        # Evidently correlates columns that are constant, and divides by their deviation.
        warnings.simplefilter("ignore")
        html = Report([DataDriftPreset()]).run(*frames).get_html_str(as_iframe=False)
    write_atomic(path, _closed(html).encode())
    left_out = tuple(name for name in columns if name not in usable)
    return EvidentlyPage(tuple(usable), left_out, (ours.num_rows, theirs.num_rows))


def _closed(html: str) -> str:
    """The page with a content policy, before anything that it could forbid."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">'
    before, head, after = html.partition("<head>")
    return f"{before}{head}{policy}{after}" if head else f"{policy}{html}"


def _some(table: pa.Table, most: int, draw: np.random.Generator) -> pa.Table:
    if table.num_rows <= most:
        return table
    return table.take(np.sort(draw.choice(table.num_rows, most, replace=False)))


def _usable(table: pa.Table, name: str) -> bool:
    if name not in table.column_names:
        return False
    return bool(np.isfinite(values_of(table, name)).any())
