"""The drift report as a value: what was judged, what it rests on, and what was done about it.

It is put together by whoever holds log and journal, and shown by `drift.report_page`. Nothing here
reads either of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from drift.history import WindowDistances
from drift.report_words import word_of
from registry.files import canonical_json, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from drift.assessment import Assessment
    from drift.case import Case, Mute
    from drift.evidence_view import Evidence
    from drift.quality_chart import QualityChart
    from drift.records import AbsentColumns, Remark, SkippedPart
    from drift.spent import Spent
    from drift.timeline import Timeline
    from drift.verdicts import Outcome
    from drift.windows import Window
    from drift.worst_pairs import WorstPair

PAGE, VALUES, APPENDIX = "drift.html", "drift.json", "evidently.html"
_FORMAT = 2


@dataclass(frozen=True, slots=True)
class DriftReport:
    """One drift check of one model, ready to be shown. What is None or empty is not known."""

    model: str
    releases: tuple[int, ...]
    """The releases whose records were judged, growing."""
    window: Window
    references: tuple[Window, ...]
    at: float
    """When the check ran: UTC epoch seconds."""
    assessment: Assessment
    actions: tuple[str, ...] = ()
    """What was done because of it, a sentence each. Traffic is never moved by an alarm."""
    skipped: tuple[SkippedPart, ...] = ()
    absent: tuple[AbsentColumns, ...] = ()
    remarks: tuple[Remark, ...] = ()
    basis: str = ""
    """What the window was compared with, in words."""
    case: Case | None = None
    """The one that the window belongs to, open or ended."""
    mute: Mute | None = None
    checked_as: str = ""
    """What the journal says of this window, when it was judged again for this report."""
    spent: Spent | None = None
    evidence: Evidence | None = None
    pairs: tuple[WorstPair, ...] = ()
    """Answers of both releases to the same request, the worst first."""
    paired: int = 0
    """How many requests both answered."""
    timeline: Timeline | None = None
    quality: QualityChart | None = None
    appendix: str = ""
    """The name of Evidently's page beside this one."""
    appendix_note: str = ""

    @property
    def outcome(self) -> Outcome:
        """The verdict."""
        return self.assessment.judgement.outcome

    def to_json(self) -> bytes:
        """The whole report as canonical JSON; what is not a number is null."""
        body = {
            "format": _FORMAT,
            "verdict": outcome_name(self.outcome),
            "profile": self.assessment.profile.hash,
            **_plain(self),
        }
        evidence = self.assessment.judgement.columns
        body["effects"] = {item.name: _plain(item.effect) for item in evidence}
        return canonical_json(body)


def outcome_name(outcome: Outcome) -> str:
    """`alarm`, `watch`, `quiet` or `not enough data`."""
    return word_of(outcome).lower()


def write_report(report: DriftReport, folder: Path) -> tuple[Path, Path]:
    """Write `drift.html` and `drift.json` into `folder`; returns both paths."""
    from drift.report_page import render_html

    page, values = folder / PAGE, folder / VALUES
    write_atomic(page, render_html(report).encode())
    write_atomic(values, report.to_json())
    return page, values


def _plain(value: Any) -> Any:
    """Dataclasses to dictionaries, tuples to lists, NaN and infinities to null."""
    if isinstance(value, WindowDistances):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
