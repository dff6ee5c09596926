"""The drift report as one HTML page: verdict and action first, then what they rest on.

The page opens from a disk and asks no network; its content policy forbids that, and scripts too.
Somebody on call reads it on a phone at night, so the first lines say what happened, what was done,
and what to do. It shows what the report holds and decides nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from drift import report_words as words
from drift.evidence_view import evidence_view
from drift.quality_view import quality_view
from drift.report_view import calibration_line, column_views, movers, without_values
from drift.timeline_view import timeline_view
from registry.markup import breakable, with_code

if TYPE_CHECKING:
    from drift.report import DriftReport
    from drift.windows import Window


def render_html(report: DriftReport) -> str:
    """The report as one self-contained page. The same values are the same page, to the byte."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        # The look of the pages is the rollout's.
        loader=ChoiceLoader([PackageLoader("drift"), PackageLoader("canary")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    environment.filters["span"] = _span
    environment.filters["grouped"] = lambda number: f"{number:,}"
    environment.filters["code"] = with_code
    environment.filters["breakable"] = breakable
    judgement, quality = report.assessment.judgement, report.quality
    return environment.get_template("report.html.jinja").render(
        report=report,
        judgement=judgement,
        profile=report.assessment.profile,
        mood=words.mood(report),
        headline=words.headline(report),
        steps=words.next_steps(report),
        words=words,
        columns=column_views(report.assessment),
        empty=without_values(report.assessment),
        movers=movers(report.assessment),
        calibration_line=calibration_line(judgement),
        evidence=evidence_view(report.evidence) if report.evidence else None,
        timeline=timeline_view(report.timeline) if report.timeline else None,
        quality=quality_view(quality) if quality else None,
    )


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%a %d %b %Y, %H:%M}"


def _span(window: Window) -> str:
    since, until = _moment(window.since), _moment(window.until)
    day, _, hour = until.rpartition(", ")
    return f"{since} to {hour if since.startswith(day) else until} UTC"
