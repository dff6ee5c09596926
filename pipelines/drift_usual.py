"""What a release's answers were like before a case: the measure of "worse than usual"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from drift.comparison import Usual
from drift.records import read_records
from drift.windows import DAY_S, Window, same_hours
from pipelines.prediction_log_places import log_places

if TYPE_CHECKING:
    from drift.case import Case
    from drift.policy import DriftPolicy
    from registry.workspace import Workspace

UNSURE_SHARE = 0.01
"""The share of usual answers whose mean log-probability is under the floor of "unsure"."""
LEAST_ANSWERS = 1000
"""Fewer do not tell that share."""
_BAD = ("empty", "looping", "fallback")


def usual_answers(workspace: Workspace, model: str, case: Case, policy: DriftPolicy) -> Usual:
    """Answers of the case's release in the same hours of earlier days, else of the day before.

    Nothing is usual (0 answers) for a release without records from before the case.
    """
    span = Window(max(case.since, case.until - DAY_S), case.until)
    before = [day for day in same_hours(span, policy.reference_days) if day.until <= case.since]
    for windows in (before, [Window(case.since - DAY_S, case.since)]):
        found = [_answers(workspace, model, case.release, window) for window in windows]
        table = pa.concat_tables([*found]) if found else None
        if table is not None and table.num_rows:
            return _usual(table)
    return Usual()


def _answers(workspace: Workspace, model: str, release: int, window: Window) -> pa.Table:
    records = read_records(
        log_places(workspace), model, release=release, since=window.since, until=window.until
    )
    return records.table.select([*_BAD, "error", "average_log_probability"])


def _usual(table: pa.Table) -> Usual:
    bad = pc.is_valid(table.column("error"))
    for name in _BAD:
        bad = pc.or_(bad, pc.fill_null(table.column(name), fill_value=False))
    sure = pc.drop_null(table.column("average_log_probability"))
    sure = sure.filter(pc.is_finite(sure))
    floor = None
    if len(sure) >= LEAST_ANSWERS:
        floor = float(pc.quantile(sure, q=UNSURE_SHARE)[0].as_py())
    return Usual(table.num_rows, pc.sum(bad).as_py() or 0, floor)
