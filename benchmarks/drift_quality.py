"""How often the quality chart calls without any change, and how soon it does when there is one.

`python -m benchmarks.drift_quality [MONTHS]` simulates MONTHS (200) of hourly means of an estimated
word error rate, after the days that the chart's centre comes from: independent hours, hours that
follow the course of a day, and days that differ as well. It prints one JSON object on its last
line: days with a call a month without any change, and days until the first call when the rate
grows by one deviation of an hour at once, or over ten days.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import numpy as np

from drift.quality_chart import BASELINE_DAYS, chart_of
from drift.quality_estimate import QualityEstimate, StatedError
from drift.window_estimate import WindowEstimate
from drift.windows import DAY_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HOURS, MONTH_DAYS = 24, 30
RUN_LENGTH = float(HOURS * MONTH_DAYS)
WORLDS = {"independent hours": (0.0, 0.0), "daily cycle": (1.5, 0.0), "day effects": (1.5, 0.7)}
"""Of a day's course and of a whole day, in deviations of an hour."""
_UNUSED = QualityEstimate((), (), (), (), 0.0, 0.0, StatedError(0.0, 0.0, 0.0, 0, 0))


def main(arguments: list[str]) -> int:
    """Measure every world; prints progress and a last line of JSON."""
    months = int(arguments[0]) if arguments else 200
    rng = np.random.default_rng(1)
    result: dict[str, object] = {"months": months, "stated": 1.0}
    for name, effects in WORLDS.items():
        traces = [_hours(rng, *effects) for _ in range(months)]
        since = np.clip(np.arange(traces[0].size) - HOURS * BASELINE_DAYS, 0, None)
        at_once = [_first_call(trace + (since > 0)) for trace in traces]
        slowly = [_first_call(trace + np.minimum(since / (10 * HOURS), 1)) for trace in traces]
        found = {
            "days_with_a_call_a_month": round(float(np.mean([_days(one) for one in traces])), 2),
            "days_until_found_at_once": round(float(np.median(at_once)), 2),
            "days_until_found_slowly": round(float(np.median(slowly)), 2),
        }
        print(f"{name}: {found}", flush=True)
        result[name] = found
    print(json.dumps(result))
    return 0


def _hours(rng: np.random.Generator, course: float, day: float) -> Floats:
    """Hourly means in deviations of an hour, float64 [hours]."""
    days = BASELINE_DAYS + MONTH_DAYS
    at = np.arange(HOURS * days) / HOURS
    whole = np.repeat(rng.normal(size=days), HOURS) * day
    found: Floats = rng.normal(size=at.size) + course * np.sin(2 * np.pi * at) + whole
    return found


def _over(hours: Floats) -> NDArray[np.bool_]:
    """Whether the chart calls after each hour that follows the first days."""
    length = DAY_S / HOURS
    windows = [
        WindowEstimate(1, number * length, (number + 1) * length, 0.1 + value / 100, 300)
        for number, value in enumerate(hours.tolist())
    ]
    chart = chart_of(_UNUSED, 1, windows, run_length=RUN_LENGTH)
    limit = chart.limit if chart.limit is not None else np.inf
    return np.array([(point.average or 0.0) > limit for point in chart.points[chart.normal :]])


def _days(hours: Floats) -> int:
    return int(_over(hours).reshape(-1, HOURS).any(axis=1).sum())


def _first_call(hours: Floats) -> float:
    """Days, infinite when there is no call."""
    over = _over(hours)
    return float(over.argmax() + 1) / HOURS if over.any() else float("inf")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
