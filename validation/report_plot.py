"""The forest plot of a report: where each mark stands, in percent of a strip's width.

One panel a metric, so that its slices share one axis; differences to a baseline are apart from
absolute values. Drawn as plain SVG, because a chart library would bring a script, or a picture
that does not follow the reader's light or dark. It writes positions and texts, and judges nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from validation.performance import Budgets
from validation.report_numbers import interval, of_check, quantity
from validation.slices import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from validation.evidence import Check

_PADDING = 0.06
# An interval may reach this far beyond all values and limits before it is cut, in their spans.
_REACH = 1.0
_TICKS = 4
_SCALES = frozenset({"points", "dB", "score"})
"""Units whose zero says nothing: their axes need not hold it."""
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Mark:
    """One check in its strip. Positions are 0 to 100 from the left; None is not drawn.

    A check that had too little data has a limit and nothing else.
    """

    slice: str
    verdict: str
    value_text: str
    interval_text: str
    limit_text: str
    reason: str
    value: float | None
    low: float | None
    high: float | None
    limit: float | None
    cut_low: bool
    cut_high: bool
    """The interval goes on beyond the strip."""
    allowed: tuple[float, float] | None
    """Left end and width of what the limit allows."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on the axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One metric, its slices in rows."""

    metric: str
    note: str
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]
    zero: float | None
    """Where no difference is, in a panel of differences."""


@dataclass(frozen=True, slots=True)
class Section:
    """Panels that compare with the same thing."""

    title: str
    panels: tuple[Panel, ...]


def sections_of(checks: Iterable[Check]) -> tuple[Section, ...]:
    """Checks that sample: quality, its differences by baseline, then what it costs.

    What is counted once has no interval and is not drawn.
    """
    titles = {"": "Quality", "parent": "Difference to its parent"}
    titles |= {"production": "Difference to production", "cost": "Speed and size"}
    parts: dict[str, dict[tuple[str, str], list[Check]]] = {name: {} for name in titles}
    for check in checks:
        sampled = check.metric and check.value is None and check.limit is not None
        if sampled or (check.low, check.high) != (None, None):
            part = "cost" if check.name in Budgets.model_fields else check.baseline
            metric = (check.metric or check.name, check.unit)
            parts.setdefault(part, {}).setdefault(metric, []).append(check)
    return tuple(
        Section(
            titles.get(part, f"Difference to {part}"),
            tuple(_panel(metric, found) for (metric, _), found in panels.items()),
        )
        for part, panels in parts.items()
        if panels
    )


def _panel(metric: str, checks: Sequence[Check]) -> Panel:
    first = checks[0]
    axis = _Axis.around(checks)
    signed = bool(first.baseline)
    return Panel(
        metric=metric,
        note="higher is better" if first.better == "higher" else "lower is better",
        marks=tuple(_mark(check, axis) for check in checks),
        ticks=tuple(
            Tick(axis.at(value), quantity(value, first.unit, signed=signed and bool(value)))
            for value in axis.ticks()
        ),
        zero=axis.at(0.0) if signed else None,
    )


def _mark(check: Check, axis: _Axis) -> Mark:
    drawn = check.value is not None
    low = axis.least if check.low is None else check.low
    high = axis.most if check.high is None else check.high
    return Mark(
        slice="whole set" if check.slice == WHOLE else check.slice,
        verdict=check.verdict.label,
        value_text=of_check(check, check.value),
        interval_text=interval(check),
        limit_text=of_check(check, check.limit),
        reason=check.reason,
        value=axis.at(check.value) if check.value is not None else None,
        low=axis.at(low) if drawn else None,
        high=axis.at(high) if drawn else None,
        limit=None if check.limit is None else axis.at(check.limit),
        cut_low=drawn and (check.low is None or check.low < axis.least),
        cut_high=drawn and (check.high is None or check.high > axis.most),
        allowed=None if check.limit is None else axis.allowed(check.limit, check.better),
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    """From `least` to `most` in the metric's unit, drawn from 0 to 100."""

    least: float
    most: float

    @classmethod
    def around(cls, checks: Sequence[Check]) -> _Axis:
        """Every value and limit, zero, and intervals as far as they leave room for the rest."""
        given = [number for check in checks for number in (check.value, check.limit)]
        core = [number for number in given if number is not None]
        counted = checks[0].unit not in _SCALES and not checks[0].baseline
        if counted or checks[0].baseline:
            core.append(0.0)
        least, most = min(core), max(core)
        room = (most - least or abs(most) or 1.0) * _REACH
        lows = [check.low for check in checks if check.low is not None]
        highs = [check.high for check in checks if check.high is not None]
        least = max(min([least, *lows]), least - room)
        most = min(max([most, *highs]), most + room)
        pad = (most - least or abs(most) or 1.0) * _PADDING
        # Nothing that is counted, timed or weighed can be below zero.
        return cls(max(0.0, least) if counted else least - pad, most + pad)

    def at(self, value: float) -> float:
        """Where `value` stands, 0 to 100; what is beyond an end stands at it."""
        share = (value - self.least) / (self.most - self.least)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def allowed(self, limit: float, better: str) -> tuple[float, float]:
        """The side of the limit where a pass is."""
        place = self.at(limit)
        return (place, round(100 - place, 2)) if better == "higher" else (0.0, place)

    def ticks(self) -> list[float]:
        """Three to six round numbers."""
        rough = (self.most - self.least) / _TICKS
        unit = 10 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in _STEPS if unit * factor >= rough * (1 - 1e-9))
        first, last = math.ceil(self.least / step), math.floor(self.most / step)
        return [round(number * step, 12) for number in range(first, last + 1)]
