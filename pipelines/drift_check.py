"""One drift check of a model's prediction log: the last window against what came before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from drift.assessment import assess
from drift.history import History
from drift.records import Records, read_records
from drift.report import DriftReport, outcome_name, write_report
from drift.windows import DAY_S, Window, choose_reference, same_hours
from pipelines.model_config import load_model_config
from pipelines.stages import announce
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from drift.assessment import Assessment
    from drift.history import WindowDistances
    from registry.workspace import Workspace


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """The verdict, the page, and the same as JSON."""

    verdict: str
    reason: str
    page: Path
    values: Path
    window: Window
    release: int
    """The newest that answered in the window; 0 when none did."""
    assessment: Assessment
    """Its `distances` are what later checks need as `past`."""


def check_drift(
    workspace: Workspace,
    model: str,
    *,
    window_s: float,
    now: float,
    past: Iterable[WindowDistances] = (),
    marked: Iterable[Window] = (),
) -> DriftCheck:
    """Judge the last `window_s` seconds before `now`, and write the report.

    The reference is the same hours of earlier days; while too few of them have records, the day
    before the window. `past` are the distances of windows that were judged before, and `marked`
    stretches of them that are known to have been different; without a past the verdict is at most
    `watch`, faults of a column aside. Raises UserError for an unknown model and a window over a
    day.
    """
    policy = load_model_config(workspace, model).drift
    if not 0 < window_s <= DAY_S:
        raise UserError(
            f"a window of {window_s:.0f} s", remedy="use more than 0 s and at most a day"
        )
    window = Window(now - window_s, now)
    announce("Reading the prediction log")
    current = _read(workspace, model, window)
    days = same_hours(window, policy.reference_days)
    read = {span: _read(workspace, model, span) for span in days}
    reference = choose_reference(
        window,
        policy.reference_days,
        policy.least_reference_days,
        release=Window(window.since - DAY_S, window.since),
        recorded={span.since for span, records in read.items() if records.table.num_rows},
    )
    earlier = [read.get(span) or _read(workspace, model, span) for span in reference.windows]
    announce("Comparing")
    # What one side's program did not write yet is no drift; the report names it.
    unwritten = sorted(_unwritten(current) ^ _unwritten(*earlier))
    assessment = assess(
        pa.concat_tables([records.table for records in earlier]).drop_columns(unwritten),
        current.table.drop_columns(unwritten),
        policy,
        span=window,
        basis=reference.basis,
        history=History.of(past, basis=reference.basis, marked=marked),
    )
    report = DriftReport(
        model=model,
        releases=tuple(sorted(set(current.table.column("release").to_pylist()))),
        window=window,
        references=reference.windows,
        at=now,
        assessment=assessment,
        skipped=tuple(part for records in (current, *earlier) for part in records.skipped),
        absent=tuple(absent for records in (current, *earlier) for absent in records.absent),
    )
    page, values = write_report(report, workspace.reports / "drift" / model)
    verdict = outcome_name(report.outcome)
    return DriftCheck(
        verdict,
        report.outcome.reason,
        page,
        values,
        window,
        max(report.releases, default=0),
        assessment,
    )


def _unwritten(*read: Records) -> set[str]:
    """Columns that some release of these records does not write."""
    return {name for records in read for absent in records.absent for name in absent.columns}


def _read(workspace: Workspace, model: str, window: Window) -> Records:
    return read_records(workspace.predictions, model, since=window.since, until=window.until)
