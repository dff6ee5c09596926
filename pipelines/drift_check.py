"""One drift check of a model's prediction log: the last window against what came before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from drift.assessment import assess
from drift.records import Records, read_records
from drift.report import DriftReport, outcome_name, write_report
from drift.windows import DAY_S, Window, same_hours
from pipelines.model_config import load_model_config
from pipelines.stages import announce
from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from registry.workspace import Workspace


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """The verdict, the page, and the same as JSON."""

    verdict: str
    reason: str
    page: Path
    values: Path


def check_drift(workspace: Workspace, model: str, *, window_s: float, now: float) -> DriftCheck:
    """Judge the last `window_s` seconds before `now`, and write the report.

    The reference is the same hours of earlier days; while the log is younger than a day, what it
    holds before the window. Raises UserError for an unknown model and a window over a day.
    """
    policy = load_model_config(workspace, model).drift
    if not 0 < window_s <= DAY_S:
        raise UserError(
            f"a window of {window_s:.0f} s", remedy="use more than 0 s and at most a day"
        )
    window = Window(now - window_s, now)
    announce("Reading the prediction log")
    current = read_records(workspace.predictions, model, since=window.since, until=window.until)
    references = same_hours(window, policy.reference_days)
    earlier = [_read(workspace, model, reference) for reference in references]
    if not any(records.table.num_rows for records in earlier):
        references = (Window(window.since - DAY_S, window.since),)
        earlier = [_read(workspace, model, references[0])]
    announce("Comparing")
    read = [current, *earlier]
    report = DriftReport(
        model=model,
        releases=tuple(sorted(set(current.table.column("release").to_pylist()))),
        window=window,
        references=references,
        at=now,
        assessment=assess(
            pa.concat_tables([records.table for records in earlier]), current.table, policy
        ),
        skipped=tuple(part for records in read for part in records.skipped),
        absent=tuple(absent for records in read for absent in records.absent),
    )
    page, values = write_report(report, workspace.reports / "drift" / model)
    return DriftCheck(outcome_name(report.outcome), report.outcome.reason, page, values)


def _read(workspace: Workspace, model: str, window: Window) -> Records:
    return read_records(workspace.predictions, model, since=window.since, until=window.until)
