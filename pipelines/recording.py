"""What private revisions record of an evaluation set, beside the answers that they gave to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

RECORDS = "records"
"""Folder in a store of answers; in it a prediction log for each revision that was asked."""
TIMEOUT_S = 5.0
"""A program writes its records every second."""
_POLL_S = 0.05
_EVER_S = 4e9
"""Later than any record: 2096."""


def wait_for_records(log: Path, wanted: int) -> None:
    """Until a revision has written what it recorded; what takes longer is lost."""
    import pyarrow.parquet as pq

    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        parts = log.glob("**/*.parquet")
        if sum(pq.read_metadata(part).num_rows for part in parts) >= wanted:
            return
        time.sleep(_POLL_S)


def recorded(folder: Path, model: str) -> pa.Table:
    """All records of the logs in `folder`, in order of time; none when it is not there."""
    from drift.records import read_records

    return read_records(sorted(folder.glob("*")), model, since=0.0, until=_EVER_S).table
