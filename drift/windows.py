"""Which stretches of the prediction log are compared with which. Pure; times are UTC seconds.

Tumbling windows only: they do not overlap, so a record is judged once and the stated chance of
a false alarm is that of each window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from numpy.typing import NDArray

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open stretch of time: `since` <= at < `until`, in UTC epoch seconds."""

    since: float
    until: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.since) and math.isfinite(self.until)):
            raise ValueError(f"a window needs finite ends: {self.since} to {self.until}")
        if self.until <= self.since:
            raise ValueError(f"a window ends after it starts: {self.since} to {self.until}")

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return self.until - self.since

    def contains(self, at: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the times lie in the window."""
        inside: NDArray[np.bool_] = (at >= self.since) & (at < self.until)
        return inside

    def touches(self, other: Window) -> bool:
        """Whether the two have a moment in common."""
        return self.since < other.until and other.since < self.until


@dataclass(frozen=True, slots=True)
class CountWindow:
    """`count` successive records: rows `first` to `first + count - 1` in order of time."""

    first: int
    count: int
    since: float
    until: float
    """Times of the first and of the last record, both inside."""


def tumbling_by_time(span: Window, length_s: float, *, origin: float = 0.0) -> tuple[Window, ...]:
    """The whole windows of `length_s` seconds inside `span`, aligned to `origin`.

    Aligned, so that the same record falls into the same window whenever the check runs; a part
    at either end of the span is left for the check that sees all of it.
    """
    if not length_s > 0:
        raise ValueError(f"a window's length is more than 0 s, not {length_s}")
    first = math.ceil((span.since - origin) / length_s)
    last = math.floor((span.until - origin) / length_s)
    return tuple(
        Window(origin + number * length_s, origin + (number + 1) * length_s)
        for number in range(first, last)
    )


def tumbling_by_count(at: NDArray[np.float64], count: int) -> tuple[CountWindow, ...]:
    """Successive windows of exactly `count` records; `at` is sorted. The rest waits for more."""
    if count < 1:
        raise ValueError(f"a window holds at least 1 record, not {count}")
    if at.size and np.any(np.diff(at) < 0):
        raise ValueError("times are not sorted")
    return tuple(
        CountWindow(first, count, float(at[first]), float(at[first + count - 1]))
        for first in range(0, len(at) - count + 1, count)
    )


def same_hours(window: Window, days: int) -> tuple[Window, ...]:
    """The same stretch on each of the `days` days before `window`, oldest first.

    Traffic at 3 a.m. is not traffic at noon; the reference of a window is therefore its own
    hours on earlier days. A window longer than a day would overlap them: ValueError.
    """
    if days < 1:
        raise ValueError(f"a reference needs at least 1 earlier day, not {days}")
    if window.seconds > DAY_S:
        raise ValueError(f"a window of {window.seconds:.0f} s overlaps the day before")
    return tuple(
        Window(window.since - day * DAY_S, window.until - day * DAY_S) for day in range(days, 0, -1)
    )


class Basis(StrEnum):
    """Where a reference comes from. Distances of different bases are never compared."""

    SAME_HOURS = "same hours"
    RELEASE = "release"
    """The release's own first healthy days."""
    GATE = "gate"
    """What the release answered to its evaluation set when it was gated."""
    NONE = "none"

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS[self]


_WORDS = {
    Basis.SAME_HOURS: "the same hours of earlier days",
    Basis.RELEASE: "the release's own first healthy days",
    Basis.GATE: "the release's answers to its evaluation set",
    Basis.NONE: "nothing yet",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """What a window is compared with; `basis` says in one word which it is."""

    basis: Basis
    windows: tuple[Window, ...]
    """Stretches of the prediction log; none for the bases that are no part of it."""
    release: int = 0
    """Whose reference it is, where it is a release's; distances from another's are others."""
    days_more: int = 0
    """How many more days the same hours need before they can be the reference."""


@dataclass(frozen=True, slots=True)
class Own:
    """What the release in service has of its own. Without a release it has nothing."""

    release: int = 0
    days: tuple[Window, ...] = ()
    """Its first healthy days, see `first_days`."""
    is_gated: bool = False
    """Whether its gate left a reference that can be read."""


def choose_reference(
    window: Window, days: int, least: int, *, recorded: Container[float], own: Own
) -> Reference:
    """The same hours of earlier days once at least `least` of `days` have records.

    Until then the release's own first healthy days, else the reference of its gate, else nothing.
    `recorded` holds `since` of those of `same_hours(window, days)` that have records. Raises
    ValueError when a day of `own` does not end before the window.
    """
    if any(day.until > window.since for day in own.days):
        raise ValueError("the reference overlaps the window that is compared with it")
    earlier = tuple(past for past in same_hours(window, days) if past.since in recorded)
    if len(earlier) >= least:
        return Reference(Basis.SAME_HOURS, earlier)
    more = least - len(earlier)
    if own.days:
        return Reference(Basis.RELEASE, own.days, own.release, more)
    if own.is_gated:
        return Reference(Basis.GATE, (), own.release, more)
    return Reference(Basis.NONE, (), own.release, more)


def first_days(
    settled_at: float, window: Window, most: int, doubtful: Iterable[Window] = ()
) -> tuple[Window, ...]:
    """The first `most` whole days of a release since it settled, all before `window`.

    Days that touch a `doubtful` stretch are no part of what is healthy and are left out.
    """
    spans = tuple(doubtful)
    found: list[Window] = []
    day = Window(settled_at, settled_at + DAY_S)
    while day.until <= window.since and len(found) < most:
        if not any(day.touches(span) for span in spans):
            found.append(day)
        day = Window(day.until, day.until + DAY_S)
    return tuple(found)
