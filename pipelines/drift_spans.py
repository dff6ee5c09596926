"""The stretch of time that a number of requests took: windows by count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drift.record_parts import HOUR_S
from drift.records import read_records
from drift.windows import DAY_S
from pipelines.prediction_log_places import log_places
from registry.errors import UserError

if TYPE_CHECKING:
    from registry.workspace import Workspace


def span_of_last(workspace: Workspace, model: str, requests: int, now: float) -> float:
    """Seconds before `now` (UTC epoch seconds) that the last `requests` of the model came in.

    Raises UserError when fewer came within a day, the longest window.
    """
    if requests < 1:
        raise UserError(f"a window of {requests} requests", remedy="use 1 or more")
    places, missing, until = log_places(workspace), requests, now
    while until > now - DAY_S:
        since = max(until - HOUR_S, now - DAY_S)
        at = read_records(places, model, since=since, until=until).table.column("at")
        if len(at) >= missing:
            first = at[len(at) - missing].as_py().timestamp()
            return float(now - first)
        missing, until = missing - len(at), since
    raise UserError(
        f"only {requests - missing} requests came within a day",
        where=model,
        remedy="ask for fewer, or for a stretch of time with --window",
    )
