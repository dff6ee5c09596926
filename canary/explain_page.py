"""An explained rollout as one self-contained page: no network, no script, light and dark."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from canary import explain_words as words
from canary.explain_plot import curve_view

if TYPE_CHECKING:
    from canary.explanation import Explanation

_MOODS = {
    "settled": "quiet",
    "compared": "quiet",
    "rolled-back": "alarm",
    "rejected": "alarm",
    "rolling-back": "alarm",
    "paused": "watch",
    "halted": "watch",
}
_HEADLINES = {
    "settled": "Settled: release {candidate} serves all the traffic",
    "rolled-back": "Rolled back: release {candidate} was left",
    "rejected": "Rejected: release {candidate} got no traffic",
    "compared": "Compared: release {candidate} was tried, and nothing was promoted",
    "paused": "Paused: release {candidate} waits for a person",
    "halted": "Halted: a person must look",
}


def render_html(explanation: Explanation) -> str:
    """The page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("canary", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    environment.filters["grouped"] = lambda number: f"{number:,}"
    headline = _HEADLINES.get(explanation.outcome, "Under way: release {candidate}")
    ended = explanation.ended_at
    return environment.get_template("explain.html.jinja").render(
        it=explanation,
        headline=headline.format(candidate=explanation.candidate),
        mood=_MOODS.get(explanation.outcome, "not"),
        replayed=words.replayed(explanation),
        length=words.took(None if ended is None else ended - explanation.started_at),
        curves=[curve_view(curve, explanation) for curve in explanation.curves],
        letters=words.LETTERS,
        words=words,
    )


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%a %d %b %Y, %H:%M:%S}"
