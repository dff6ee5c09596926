"""The drift report: a verdict first, then what it rests on, as one HTML page and as JSON.

The page needs no network and no script. Somebody on call reads it on a phone at night, so the
first lines say what happened, what was done, and what was not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from drift.history import WindowDistances
from drift.verdicts import Alarm, NotEnoughData, Quiet, Watch
from registry.files import canonical_json, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from drift.assessment import Assessment
    from drift.records import AbsentColumns, SkippedPart
    from drift.verdicts import Outcome
    from drift.windows import Window

_FORMAT = 1
_HEADLINES: dict[type, tuple[str, str]] = {
    Alarm: ("Alarm", "the traffic is not what it was"),
    Watch: ("Watch", "something moved, not enough to call a person"),
    Quiet: ("Quiet", "the traffic is what it was"),
    NotEnoughData: ("Not enough data", "nothing can be said yet"),
}


@dataclass(frozen=True, slots=True)
class DriftReport:
    """One drift check of one model, ready to be shown."""

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
    return _HEADLINES[type(outcome)][0].lower()


def render_html(report: DriftReport) -> str:
    """The report as one self-contained page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from drift.report_view import calibration_line, column_views

    environment = Environment(
        loader=PackageLoader("drift", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    environment.filters["span"] = _span
    environment.filters["grouped"] = lambda number: f"{number:,}"
    word, line = _HEADLINES[type(report.outcome)]
    return environment.get_template("report.html.jinja").render(
        report=report,
        judgement=report.assessment.judgement,
        profile=report.assessment.profile,
        word=word,
        line=line,
        mood=word.split()[0].lower(),
        columns=column_views(report.assessment),
        calibration_line=calibration_line(report.assessment.judgement),
    )


def write_report(report: DriftReport, folder: Path) -> tuple[Path, Path]:
    """Write `drift.html` and `drift.json` into `folder`; returns both paths."""
    page, values = folder / "drift.html", folder / "drift.json"
    write_atomic(page, render_html(report).encode())
    write_atomic(values, report.to_json())
    return page, values


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%a %d %b %Y, %H:%M}"


def _span(window: Window) -> str:
    since, until = _moment(window.since), _moment(window.until)
    day, _, hour = until.rpartition(", ")
    return f"{since} to {hour if since.startswith(day) else until} UTC"


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
