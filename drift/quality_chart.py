"""Whether a release gets slowly worse: the estimated word error rate of its windows on a chart.

The chart's centre is what the release's first days were like, the course of a day included (mean
and two harmonics), because calls at night are not calls at noon. Windows of one day resemble each
other, so the scale is the one that the moving average of those days really had where that is
larger than independent windows would give. A call is `watch` at most: the estimate is made of the
same signals that drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from drift.columns import values_of
from drift.control_chart import LEAST_WINDOWS, ControlChart
from drift.policy import DAYS_A_MONTH
from drift.verdicts import Alarm, Watch
from drift.window_estimate import WindowEstimate
from drift.windows import DAY_S, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from drift.quality_estimate import QualityEstimate, StatedError
    from drift.verdicts import Outcome

    Floats = NDArray[np.float64]

COLUMN = "estimated_wer"
"""What a case calls it."""
BASELINE_DAYS = 14
"""With seven, days that differ would be called three times as often as stated."""
LEAST_ANSWERS = 20
"""A window with fewer has no estimate."""
MOST_POINTS = 2000
"""Of a chart: twelve weeks of hours."""
_HARMONICS = 2


@dataclass(frozen=True, slots=True)
class ChartPoint:
    """One window; `average` is the moving average after it, None while the chart has no limit.

    Both without what the hour of the day makes of them, so that they lie around the centre.
    """

    since: float
    until: float
    wer: float
    average: float | None


@dataclass(frozen=True, slots=True)
class QualityChart:
    """What a report shows. Word error rates are estimated ones, 0 to 1, and higher is worse.

    `centre` and `limit` are None until the release's first days are whole; `more_windows` and
    `more_days` say what they lack. Averages are comparable with both.
    """

    release: int
    error: StatedError
    run_length: float
    """After how many windows without any change the chart is expected to call."""
    points: tuple[ChartPoint, ...]
    """Oldest first, the newest MOST_POINTS of them."""
    normal: int = 0
    """How many windows of the release, from its first on, centre and limit come from."""
    centre: float | None = None
    limit: float | None = None
    more_windows: int = 0
    more_days: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it calls after the newest window."""
        average = self.points[-1].average if self.points else None
        return average is not None and self.limit is not None and average > self.limit

    @property
    def reason(self) -> str:
        """What it says, in words."""
        if self.limit is None or self.centre is None:
            return (
                f"the chart of the estimated word error rate needs {self.more_days} more days and "
                f"{self.more_windows} more windows"
            )
        average = (self.points[-1].average if self.points else None) or self.centre
        return (
            f"the estimated word error rate is {average:.1%} on average, where {self.centre:.1%} "
            f"was usual and {self.limit:.1%} is the chart's limit"
        )


def estimate_window(
    estimate: QualityEstimate, table: pa.Table, release: int, window: Window
) -> WindowEstimate | None:
    """The mean over the window's answers of `release`; None with under LEAST_ANSWERS of them."""
    table = table.filter(pc.equal(table.column("release"), release))
    if "error" in table.column_names:
        table = table.filter(pc.is_null(table.column("error")))
    if table.num_rows < LEAST_ANSWERS:
        return None
    names = [name for name in estimate.signals if name in table.column_names]
    values = estimate.of({name: values_of(table, name) for name in names})
    if not names or not len(values):
        return None
    return WindowEstimate(release, window.since, window.until, float(values.mean()), table.num_rows)


def chart_of(
    estimate: QualityEstimate,
    release: int,
    windows: Iterable[WindowEstimate],
    *,
    run_length: float,
    marked: Iterable[Window] = (),
) -> QualityChart:
    """The chart of `release` from its windows, oldest first; those of other releases are left out.

    No window of a `marked` stretch, in which something is known to have been different, is part
    of the centre. Raises ValueError for a run length under 2.
    """
    spans = tuple(marked)
    mine = [window for window in windows if window.release == release]
    normal = np.array(
        [not any(Window(one.since, one.until).touches(span) for span in spans) for one in mine],
        dtype=bool,
    )
    first = _baseline(mine, normal)
    values = np.array([window.wer for window in mine])
    if first is None:
        days = len({_day(one) for one, kept in zip(mine, normal, strict=True) if kept})
        return QualityChart(
            release,
            estimate.error,
            run_length,
            _points(mine, values.tolist(), [None] * len(mine)),
            more_windows=max(0, LEAST_WINDOWS - int(normal.sum())),
            more_days=max(0, BASELINE_DAYS + 1 - days),
        )
    own = normal & (np.arange(len(mine)) < first)
    levelled = _without_course(mine, values, own)
    limits = ControlChart.of(levelled[own].tolist(), run_length)
    averages = [limits.mean + one * limits.reach for one in limits.averages(levelled.tolist())]
    return QualityChart(
        release,
        estimate.error,
        run_length,
        _points(mine, levelled.tolist(), averages),
        normal=first,
        centre=limits.mean,
        limit=limits.mean + limits.limit * limits.reach,
    )


def run_length_of(window_s: float, calls_per_month: float) -> float:
    """Windows between two false calls, for that many in 30 days; what a chart can state of it."""
    return min(max(DAYS_A_MONTH * DAY_S / window_s / calls_per_month, 2.0), 1e6)


def with_chart(outcome: Outcome, chart: QualityChart | None) -> Outcome:
    """The outcome with the chart's call in it: it makes a Watch at most, and no alarm worse."""
    if chart is None or not chart.is_over:
        return outcome
    if isinstance(outcome, Alarm):
        return Alarm(f"{outcome.reason}; {chart.reason}", outcome.columns)
    if isinstance(outcome, Watch):
        return Watch(f"{outcome.reason}; {chart.reason}", (*outcome.columns, COLUMN))
    return Watch(chart.reason, (COLUMN,))


def _day(window: WindowEstimate) -> int:
    return int(window.since // DAY_S)


def _baseline(windows: Sequence[WindowEstimate], normal: NDArray[np.bool_]) -> int | None:
    """How many windows from the first on are the baseline: whole days, enough of both."""
    days: set[int] = set()
    count = 0
    for number, (window, kept) in enumerate(zip(windows, normal, strict=True)):
        if _day(window) not in days and len(days) >= BASELINE_DAYS and count >= LEAST_WINDOWS:
            return number
        if kept:
            days.add(_day(window))
            count += 1
    return None


def _without_course(
    windows: Sequence[WindowEstimate], values: Floats, own: NDArray[np.bool_]
) -> Floats:
    """Each window's value [windows] less what its hour makes of it, by the windows of `own`."""
    course = _course(np.array([window.since % DAY_S / DAY_S for window in windows]))
    weights = np.linalg.lstsq(course[own], values[own], rcond=None)[0]
    levelled: Floats = values - course @ weights + values[own].mean()
    return levelled


def _course(times: Floats) -> Floats:
    """Columns of a constant and the harmonics of a day at `times` (0 to 1): [windows, columns]."""
    angles = 2 * np.pi * times[:, None] * np.arange(1, _HARMONICS + 1)
    found: Floats = np.concatenate(
        [np.ones((len(times), 1)), np.cos(angles), np.sin(angles)], axis=1
    )
    return found


def _points(
    windows: Sequence[WindowEstimate],
    values: Sequence[float],
    averages: Sequence[float | None],
) -> tuple[ChartPoint, ...]:
    found = [
        ChartPoint(window.since, window.until, value, average)
        for window, value, average in zip(windows, values, averages, strict=True)
    ]
    return tuple(found[-MOST_POINTS:])
