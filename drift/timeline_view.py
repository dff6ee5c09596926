"""Where the timeline's stretches stand on the page: percent of its width, three lanes and days.

Positions are percents, so that the same drawing fits a phone and a printed page.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from drift.windows import DAY_S

if TYPE_CHECKING:
    from drift.case import Case
    from drift.timeline import Judged, Timeline

_LEAST_WIDTH = 0.4
"""Percent: a window of an hour in a month would be narrower than a pixel."""
_WIDE_ENOUGH = 5.0
"""Percent that a label of a few characters needs on a phone."""
_DAY_LABELS = 4
_LAST_LABEL = 86.0
"""Percent: what begins further right would stand out of a phone's page."""
_MOODS = {"alarm": "alarm", "watch": "watch", "quiet": "quiet"}
_HEIGHTS = {"alarm": 100, "watch": 66, "quiet": 33}
"""Percent of the lane: the outcome is told by height as well as by colour."""
MOST_EVENTS = 40
"""Lines under the chart; older ones are in `sluice history`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a lane."""

    x: float
    width: float
    mood: str
    label: str
    """Empty where it would not fit."""
    tells: str
    tall: int = 100
    """Percent of the lane's height, from below."""


@dataclass(frozen=True, slots=True)
class Line:
    """One event in words."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class TimelineView:
    """Lanes from top to bottom, and the events, newest first."""

    releases: tuple[Piece, ...]
    windows: tuple[Piece, ...]
    cases: tuple[Piece, ...]
    muted: tuple[Piece, ...]
    days: tuple[tuple[float, str], ...]
    """Place and name of some days."""
    events: tuple[Line, ...]
    older: int
    """Events that are not listed."""


def timeline_view(timeline: Timeline) -> TimelineView:
    """The drawing of a timeline."""
    axis = _Axis(timeline.span.since, timeline.span.until)
    events = tuple(Line(one.at, one.kind, one.text) for one in reversed(timeline.events))
    return TimelineView(
        releases=tuple(
            axis.piece(
                one.since,
                one.until,
                f"even{number % 2}",
                str(one.release),
                f"release {one.release}",
            )
            for number, one in enumerate(timeline.live)
        ),
        windows=tuple(_window(axis, one) for one in _worst_a_pixel(timeline.judged, axis)),
        cases=tuple(_case(axis, one) for one in timeline.cases),
        muted=tuple(
            axis.piece(one.since, one.until, "muted", "", f"muted: {one.reason}")
            for one in timeline.muted
        ),
        days=tuple(axis.days()),
        events=events[:MOST_EVENTS],
        older=max(0, len(events) - MOST_EVENTS),
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    since: float
    until: float

    def x(self, at: float) -> float:
        """0 to 100; what is beyond an end stands at it."""
        share = (at - self.since) / (self.until - self.since)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def piece(
        self, since: float, until: float, mood: str, label: str, tells: str, tall: int = 100
    ) -> Piece:
        x = min(self.x(since), 100 - _LEAST_WIDTH)
        width = max(self.x(until) - x, _LEAST_WIDTH)
        shown = label if width >= _WIDE_ENOUGH else ""
        return Piece(x, round(width, 2), mood, shown, tells, tall)

    def days(self) -> list[tuple[float, str]]:
        """Midnights (UTC), as many as have room."""
        first = self.since - self.since % DAY_S + DAY_S
        days = int((self.until - first) // DAY_S) + 1
        step = max(1, -(-days // _DAY_LABELS))
        midnights = (first + number * DAY_S for number in range(0, days, step))
        places = ((self.x(at), f"{datetime.fromtimestamp(at, UTC):%d %b}") for at in midnights)
        return [(x, name) for x, name in places if x <= _LAST_LABEL]


def _case(axis: _Axis, case: Case) -> Piece:
    ended = axis.until if case.ended_at is None else case.ended_at
    word = case.attribution or "not attributed"
    tells = f"case {case.number}, {case.severity}, release {case.release}: {word}"
    mood = "alarm" if case.severity.rank else "watch"
    return axis.piece(case.opened_at, ended, mood, str(case.number), tells)


def _window(axis: _Axis, window: Judged) -> Piece:
    mood = _MOODS.get(window.outcome, "not")
    tall = _HEIGHTS.get(window.outcome, 12)
    return axis.piece(window.since, window.until, mood, "", window.outcome, tall)


def _worst_a_pixel(judged: tuple[Judged, ...], axis: _Axis) -> list[Judged]:
    """Of windows that would stand on each other, the worst."""
    worst: dict[int, Judged] = {}
    for window in judged:
        place = int(axis.x(window.since) / _LEAST_WIDTH)
        known = worst.get(place)
        if known is None or _HEIGHTS.get(known.outcome, 12) < _HEIGHTS.get(window.outcome, 12):
            worst[place] = window
    return list(worst.values())
