"""The control chart of the estimated quality, as the page draws it (see `drift.quality_chart`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drift.quality_chart import QualityChart

SHOWN = 300
"""Windows that the page draws: the newest."""
_ROOM = 0.08
"""Of the range, above and below."""


@dataclass(frozen=True, slots=True)
class QualityView:
    """The chart; places are percent of its width and height, None where nothing is drawn."""

    mood: str
    status: str
    sentence: str
    line: str
    """The moving average: points of an SVG polyline, empty while there is no limit."""
    dots: tuple[tuple[float, float], ...]
    """Windows by themselves."""
    limit: float | None
    centre: float | None
    limit_text: str
    centre_text: str
    since: float
    until: float


def quality_view(chart: QualityChart) -> QualityView | None:
    """The drawing; None without any window."""
    points = chart.points[-SHOWN:]
    if not points:
        return None
    averages = [(i, one.average) for i, one in enumerate(points) if one.average is not None]
    lines = [value for value in (chart.limit, chart.centre) if value is not None]
    seen = [*(one.wer for one in points), *(value for _, value in averages), *lines]
    room = (max(seen) - min(seen) or 1e-6) * _ROOM
    axis = _Axis(min(seen) - room, max(seen) + room, max(1, len(points) - 1))
    status = "over its limit" if chart.is_over else "within its limit"
    return QualityView(
        mood="watch" if chart.is_over else "not" if chart.limit is None else "quiet",
        status="no limit yet" if chart.limit is None else status,
        sentence=_sentence(chart),
        line=" ".join(f"{axis.x(i)},{axis.y(value)}" for i, value in averages),
        dots=tuple((axis.x(i), axis.y(one.wer)) for i, one in enumerate(points)),
        limit=None if chart.limit is None else axis.y(chart.limit),
        centre=None if chart.centre is None else axis.y(chart.centre),
        limit_text=f"{chart.limit or 0:.1%}",
        centre_text=f"{chart.centre or 0:.1%}",
        since=points[0].since,
        until=points[-1].until,
    )


def _sentence(chart: QualityChart) -> str:
    error = chart.error
    told = f"Release {chart.release}: {chart.reason}"
    if chart.limit is not None:
        told += f". One false call in {chart.run_length:,.0f} windows is expected"
    return (
        f"{told}. On speakers that the estimate did not see, the mean of one is off by "
        f"{error.of_a_mean:.1%} (root mean square)"
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    least: float
    most: float
    last: int

    def x(self, number: int) -> float:
        return round(100 * number / self.last, 2)

    def y(self, value: float) -> float:
        return round(100 * (self.most - value) / (self.most - self.least), 2)
