"""The drift page of one window, with what journal and log say around it, kept where people look.

To what a check found come the case and what was done about it, alarms against the budget, the
attribution's evidence, the worst pairs, the timeline. It decides nothing and moves nothing, so it
may be made again at any time.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from drift.case import fold
from drift.report import APPENDIX, outcome_name, write_report
from drift.report_words import done, headline, next_steps, spent_line
from drift.spent import spent_until
from drift.timeline import timeline_of
from drift.windows import DAY_S, Window
from pipelines.drift_check import check_drift
from pipelines.drift_evidence import case_of, evidence_of, pairs_of, window_of
from pipelines.model_config import load_model_config
from pipelines.stages import announce
from registry.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from drift.case import DriftState
    from drift.report import DriftReport
    from drift.worst_pairs import WorstPair
    from pipelines.assembly import Platform
    from pipelines.drift_check import DriftCheck
    from registry.workspace import Workspace

TIMELINE_S = 30 * DAY_S


@dataclass(frozen=True, slots=True)
class Told:
    """One report: the value, its files, and where else it is kept."""

    report: DriftReport
    page: Path
    values: Path
    appendix: Path | None
    kept: str
    """Where in MLflow, or why it is not."""

    def to_json(self) -> dict[str, Any]:
        """The main figures and the files, for people and machines alike."""
        report, case = self.report, self.report.case
        evidence, spent = report.evidence, report.spent
        return {
            "model": report.model,
            "verdict": outcome_name(report.outcome),
            "headline": headline(report),
            "reason": report.outcome.reason,
            "since": report.window.since,
            "until": report.window.until,
            "requests": report.assessment.judgement.window_rows,
            "case": case.number if case else None,
            "next": list(next_steps(report)),
            "alarms": spent.alarms if spent else 0,
            "alarms_told": spent_line(spent) if spent else "",
            "pairs": evidence.pairs if evidence else 0,
            "e_value": evidence.e_value if evidence and evidence.curve else None,
            "acts_at": evidence.acts_at if evidence else None,
            "moved": _moved(report),
            "page": str(self.page),
            "values": str(self.values),
            "evidently": str(self.appendix) if self.appendix else None,
            "kept": self.kept,
        }


def report_folder(workspace: Workspace, model: str) -> Path:
    """Where the page of the last check lies."""
    return workspace.reports / "drift" / model


def tell(platform: Platform, check: DriftCheck, *, now: float) -> DriftReport:
    """Write a check's page, with what journal and log say around it, `now` in UTC epoch seconds.

    Inside a Prefect flow its summary is shown on Prefect's page. Raises IntegrityError for a
    broken journal.
    """
    report = _completed(platform, check.report, now)
    folder = report_folder(platform.workspace, report.model)
    (folder / APPENDIX).unlink(missing_ok=True)  # of an earlier window
    page, _ = write_report(report, folder)
    _show_in_prefect(report, page)
    return report


def make_report(
    platform: Platform,
    model: str,
    *,
    now: float,
    since_s: float | None = None,
    evidently: bool = True,
) -> Told:
    """Build the page of the last checked window, or of the last `since_s` seconds before `now`.

    The window is judged again from the log, against the windows before it alone, and nothing is
    written into the journal. `evidently` adds Evidently's own page. Raises UserError as
    `check_drift`, IntegrityError for a broken journal.
    """
    if evidently:
        from registry.prefetch import prefetch

        prefetch("evidently")
    platform.journal.verify(model)
    entries = platform.journal.read(model)
    folder = report_folder(platform.workspace, model)
    window, checked_as = window_of(platform, model, entries, now=now, since_s=since_s)
    if since_s is not None:
        folder = platform.workspace.reports / "drift-spans" / model / _name(window)
    check = check_drift(
        platform,
        model,
        window_s=window.seconds,
        now=window.until,
        state=_before(fold(entries, model=model), window),
    )
    report = replace(_completed(platform, check.report, now), checked_as=checked_as)
    appendix = folder / APPENDIX
    appendix.unlink(missing_ok=True)
    if evidently:
        report = _with_evidently(report, check, appendix)
    page, values = write_report(report, folder)
    _show_in_prefect(report, page)
    kept = keep_report(platform, report, folder)
    return Told(report, page, values, appendix if report.appendix else None, kept)


def keep_report(platform: Platform, report: DriftReport, folder: Path) -> str:
    """Keep the folder's files in MLflow with the live release's run; where, or why not.

    A registry that is away is no reason to have no report.
    """
    live = platform.serving(report.model).live
    catalog = platform.catalog(report.model)
    if live is None or live not in catalog.releases:
        return "no: no published release is live"
    name = f"drift/release-{live}/{_name(report.window)}"
    announce("Keeping the report in MLflow")
    try:
        return platform.keep_files(report.model, catalog.releases[live].artifact, folder, name)
    except EngineError as error:
        return f"no: {error}"


def _completed(platform: Platform, report: DriftReport, now: float) -> DriftReport:
    """The report with everything that journal and log say around its window."""
    entries = platform.journal.read(report.model)
    state = fold(entries, model=report.model)
    policy = load_model_config(platform.workspace, report.model).drift
    case = case_of(state, report.window)
    evidence = evidence_of(entries, case) if case else None
    found: tuple[tuple[WorstPair, ...], int] = ((), 0)
    if case and evidence and evidence.curve:
        announce("Looking for the worst pairs")
        found = pairs_of(platform, report.model, case, evidence.previous, now)
    return replace(
        report,
        at=now,
        case=case,
        mute=state.mute if state.mute and now < state.mute.until else None,
        actions=done(case, state.mute, now),
        spent=spent_until(state, now, policy.false_alarms_per_month),
        evidence=evidence,
        pairs=found[0],
        paired=found[1],
        timeline=timeline_of(entries, Window(now - TIMELINE_S, now), report.model),
    )


def _before(state: DriftState, window: Window) -> DriftState:
    """The state with the windows alone that were over when `window` began."""
    earlier = tuple(one for one in state.windows if one.span.until <= window.since)
    return replace(state, windows=earlier)


def _with_evidently(report: DriftReport, check: DriftCheck, path: Path) -> DriftReport:
    from drift.evidently_page import write_evidently
    from registry.prefetch import prefetched

    announce("Making Evidently's page")
    prefetched()
    columns = [column.name for column in report.assessment.columns]
    written = write_evidently(check.sides.reference, check.sides.window, columns, path)
    if written is None:
        return report
    note = f"{written.rows[1]:,} of the window against {written.rows[0]:,}"
    if written.left_out:
        note += f"; without {', '.join(written.left_out)}, which it cannot take"
    return replace(report, appendix=path.name, appendix_note=note)


def _moved(report: DriftReport) -> list[dict[str, str]]:
    from drift.report_view import movers

    return [
        {"column": one.name, "change": one.change, "told": one.sentence}
        for one in movers(report.assessment)
    ]


def _name(window: Window) -> str:
    """A folder's name of a window: its ends in UTC."""
    ends = (datetime.fromtimestamp(at, UTC) for at in (window.since, window.until))
    return "-".join(f"{end:%Y%m%dT%H%M%SZ}" for end in ends)


def _show_in_prefect(report: DriftReport, page: Path) -> None:
    """A summary on Prefect's page, inside a flow; where Prefect is not loaded, no flow runs."""
    if "prefect" not in sys.modules:
        return
    from prefect.context import FlowRunContext

    if FlowRunContext.get() is None:
        return
    from prefect.artifacts import create_markdown_artifact

    create_markdown_artifact(key=f"drift-{report.model}", markdown=summary(report, page))


def summary(report: DriftReport, page: Path) -> str:
    """The report in a few lines of Markdown, with a link to its page."""
    lines = [f"# {headline(report)}", "", f"{report.model}: [the whole page]({page.as_uri()})", ""]
    lines += [f"- To do: {step}" for step in next_steps(report)]
    lines += [f"- Done: {action}" for action in report.actions]
    if report.spent:
        lines.append(f"- Alarms: {report.spent.alarms} {spent_line(report.spent)}")
    lines += [f"- `{one['column']}`: {one['told']}" for one in _moved(report)]
    return "\n".join(lines) + "\n"
