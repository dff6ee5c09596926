"""Where an e-value's curve runs, on a log scale: for the page's drawing and for a terminal.

Both show the same range: up to what acts, or to the highest value, and a third of that below 1.
Small values say only that nothing speaks against the null, so what is lower is drawn at the edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from canary.explain_words import LETTERS, e_value, status, title

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canary.explanation import Curve, Explanation

BELOW_ONE = 1 / 3
"""How far the range goes below an e-value of 1, as a part of how far it goes above."""

BUCKETS = 400
"""A page draws no more points than two for each of these parts of its width."""

GUTTER = 9
"""Columns of a terminal's chart that hold the labels of its scale."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The range of times and log e-values that is drawn."""

    since: float
    until: float
    least: float
    most: float

    @classmethod
    def around(cls, curve: Curve, explanation: Explanation) -> Frame:
        """From the rollout's start to its end, or to the last thing that is known."""
        known = [at for at, _ in curve.points] + [one.at for one in explanation.decisions]
        since = explanation.started_at
        until = explanation.ended_at or max(known, default=since)
        most = max(curve.acts_at, curve.highest) * 1.1
        return cls(since, max(until, since + 1e-3), -most * BELOW_ONE, most)

    def x(self, at: float) -> float:
        """Place of a time, 0 to 1 from the left."""
        return min(1.0, max(0.0, (at - self.since) / (self.until - self.since)))

    def y(self, log_e: float) -> float:
        """Place of a log e-value, 0 to 1 from the top."""
        return min(1.0, max(0.0, (self.most - log_e) / (self.most - self.least)))


@dataclass(frozen=True, slots=True)
class Mark:
    """A decision in the chart: percent from the left, and its letter."""

    x: float
    letter: str
    tells: str


@dataclass(frozen=True, slots=True)
class CurveView:
    """One chart of the page; places are percent of its width and height."""

    title: str
    mood: str
    status: str
    sentence: str
    line: str
    """Points of an SVG polyline."""
    one: float
    """Where an e-value of 1 is, from the top."""
    acts: float
    acts_text: str
    marks: tuple[Mark, ...]


def curve_view(curve: Curve, explanation: Explanation) -> CurveView:
    """The chart of one test."""
    frame = Frame.around(curve, explanation)
    mood, word = status(curve)
    return CurveView(
        title=title(curve.name),
        mood=mood,
        status=word,
        sentence=f"highest e-value {e_value(curve.highest)}; acts at {e_value(curve.acts_at)}",
        line=" ".join(f"{_percent(x)},{_percent(y)}" for x, y in _corners(curve, frame)),
        one=_percent(frame.y(0.0)),
        acts=_percent(frame.y(curve.acts_at)),
        acts_text=e_value(curve.acts_at),
        marks=tuple(
            Mark(_percent(frame.x(one.at)), LETTERS[name], f"{name}: {one.recorded.reason}")
            for one in explanation.moments
            if (name := one.recorded.decision) in LETTERS
        ),
    )


def _percent(part: float) -> float:
    return round(100 * part, 2)


def _corners(curve: Curve, frame: Frame) -> Iterable[tuple[float, float]]:
    """The staircase: a value stands until the next block. Of many points, highest and last stay."""
    kept: dict[int, tuple[float, float]] = {}
    for at, log_e in curve.points:
        bucket = int(frame.x(at) * BUCKETS)
        highest = kept.get(bucket, (-math.inf, 0.0))[0]
        kept[bucket] = (max(highest, log_e), log_e)
    before = 0.0
    for bucket, (highest, last) in sorted(kept.items()):
        x = bucket / BUCKETS
        yield x, frame.y(before)
        yield x, frame.y(highest)
        yield x, frame.y(last)
        before = last
    yield 1.0, frame.y(before)


def text_chart(
    curve: Curve, explanation: Explanation, *, width: int = 80, height: int = 8
) -> list[str]:
    """The chart in plain characters: lines of at most `width` columns.

    `*` is the e-value, `-` where the test acts, `.` an e-value of 1; letters mark decisions.
    """
    frame = Frame.around(curve, explanation)
    columns = width - GUTTER - 1
    levels = _by_column(curve, frame, columns)
    acts, one = _row(frame.y(curve.acts_at), height), _row(frame.y(0.0), height)
    lines = []
    for row in range(height):
        ground = "-" if row == acts else "." if row == one else " "
        drawn = "".join("*" if _row(y, height) == row else ground for y in levels)
        label = e_value(curve.acts_at) if row == acts else "1" if row == one else ""
        lines.append(f"{label:>{GUTTER - 1}} |{drawn}".rstrip())
    axis = ["-"] * columns
    for moment in explanation.moments:
        letter = LETTERS.get(moment.recorded.decision)
        if letter:
            axis[min(columns - 1, int(frame.x(moment.at) * columns))] = letter
    return [*lines, f"{'':>{GUTTER - 1}} +{''.join(axis)}"]


def _row(y: float, height: int) -> int:
    return min(height - 1, int(y * height))


def _by_column(curve: Curve, frame: Frame, columns: int) -> list[float]:
    """For each column the highest place that the curve takes in it."""
    levels: list[float | None] = [None] * columns
    lasts: dict[int, float] = {}
    for at, log_e in curve.points:
        column = min(columns - 1, int(frame.x(at) * columns))
        known, y = levels[column], frame.y(log_e)
        levels[column] = y if known is None else min(known, y)
        lasts[column] = y
    before, filled = frame.y(0.0), []
    for column, level in enumerate(levels):
        filled.append(before if level is None else level)
        before = lasts.get(column, before)
    return filled
