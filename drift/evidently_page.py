"""Evidently's own data-drift page, beside ours, for whoever wants its view too.

It decides nothing here: without drift it flags 40 % of windows of 500 rows over 12 columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from drift.columns import values_of
from registry.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa


def write_evidently(
    reference: pa.Table, window: pa.Table, columns: Sequence[str], path: Path
) -> tuple[str, ...]:
    """Write Evidently's own data-drift page beside ours; returns the columns it could not take.

    Evidently refuses a whole report for one column that is absent or has no value, so those are
    left out. Importing it takes seconds, and a million rows some 25 s: only when asked for.
    """
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    usable = [name for name in columns if _usable(reference, name) and _usable(window, name)]
    definition = DataDefinition(numerical_columns=usable)
    frames = [
        Dataset.from_pandas(
            pd.DataFrame({name: values_of(table, name) for name in usable}),
            data_definition=definition,
        )
        for table in (window, reference)
    ]
    snapshot = Report([DataDriftPreset()]).run(*frames)
    write_atomic(path, snapshot.get_html_str(as_iframe=False).encode())
    return tuple(name for name in columns if name not in usable)


def _usable(table: pa.Table, name: str) -> bool:
    if name not in table.column_names:
        return False
    return bool(np.isfinite(values_of(table, name)).any())
