"""Estimated word error rates on a chart: what it needs, when it calls, and what a call may do."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from drift.quality_chart import (
    BASELINE_DAYS,
    COLUMN,
    LEAST_ANSWERS,
    QualityChart,
    chart_of,
    estimate_window,
    run_length_of,
    with_chart,
)
from drift.quality_estimate import QualityEstimate, StatedError
from drift.verdicts import Alarm, NotEnoughData, Quiet, Watch
from drift.window_estimate import WindowEstimate
from drift.windows import DAY_S, Window

HOUR_S = 3600.0
MONTH = 720.0
ERROR = StatedError(0.02, 0.01, 0.4, 400, 20)
ESTIMATE = QualityEstimate(("snr_db",), (20.0,), (5.0,), (-0.02,), 0.1, 1.0, ERROR)
QUIET = Quiet("nothing moved")


def hours(values: np.ndarray, *, release: int = 1, first: int = 0) -> list[WindowEstimate]:
    return [
        WindowEstimate(release, (first + n) * HOUR_S, (first + n + 1) * HOUR_S, value, 300)
        for n, value in enumerate(values.tolist())
    ]


def traffic(rng: np.random.Generator, days: int, *, day_effect: float = 0.0) -> np.ndarray:
    """Hours that follow the course of a day, about 0.05 with a deviation of 0.01."""
    at = np.arange(24 * days) / 24
    own = np.repeat(rng.normal(size=days), 24) * day_effect
    return 0.05 + 0.01 * (rng.normal(size=len(at)) + 1.5 * np.sin(2 * np.pi * at) + own)


def charted(values: np.ndarray) -> QualityChart:
    return chart_of(ESTIMATE, 1, hours(values), run_length=MONTH)


def table(rows: int, snr: float, *, release: int = 1, error: str | None = None) -> pa.Table:
    return pa.table(
        {
            "release": pa.array([release] * rows, pa.int64()),
            "snr_db": pa.array([snr] * rows, pa.float64()),
            "error": pa.array([error] * rows, pa.string()),
        }
    )


def test_a_windows_estimate_is_that_of_the_releases_own_answers() -> None:
    rows = [table(30, 10.0), table(90, 40.0, release=2), table(90, 0.0, error="too long")]
    window = Window(0, HOUR_S)
    found = estimate_window(ESTIMATE, pa.concat_tables(rows), 1, window)
    assert found is not None
    assert found.wer == pytest.approx(0.14)
    assert found == WindowEstimate(1, 0, HOUR_S, found.wer, 30)
    again = WindowEstimate.from_json(json.loads(json.dumps(found.to_json())))
    assert again == replace(found, wer=round(found.wer, 6))
    few = table(LEAST_ANSWERS - 1, 10.0)
    assert estimate_window(ESTIMATE, few, 1, window) is None
    assert estimate_window(ESTIMATE, rows[0].drop_columns(["snr_db"]), 1, window) is None


def test_until_the_first_days_are_whole_there_is_no_limit(rng: np.random.Generator) -> None:
    chart = charted(traffic(rng, 3))
    assert (chart.centre, chart.limit, chart.is_over) == (None, None, False)
    assert (chart.more_windows, chart.more_days) == (0, BASELINE_DAYS - 2)
    assert len(chart.points) == 72
    assert "12 more days" in chart.reason
    daily = [WindowEstimate(1, n * DAY_S, n * DAY_S + HOUR_S, 0.05, 99) for n in range(20)]
    assert chart_of(ESTIMATE, 1, daily, run_length=30).more_windows == 30
    assert chart_of(ESTIMATE, 1, [], run_length=30).points == ()


def test_slow_worsening_is_called_and_bettering_is_not(rng: np.random.Generator) -> None:
    values = traffic(rng, 40)
    slowly = values.copy()
    slowly[24 * 20 :] += 0.02 * np.linspace(0, 1, 24 * 20)
    chart = charted(slowly)
    assert chart.is_over
    assert chart.limit is not None
    assert chart.centre == pytest.approx(0.05, abs=0.002)
    assert "was usual" in chart.reason
    over = [point.average is not None and point.average > chart.limit for point in chart.points]
    assert not any(over[24 * 15 : 24 * 20])
    better = values - 0.02 * (np.arange(len(values)) > 24 * 20)
    assert not charted(better).is_over


@pytest.mark.parametrize("day_effect", [0.0, 0.7])
def test_one_false_call_a_month_is_what_is_stated(
    rng: np.random.Generator, day_effect: float
) -> None:
    """40 months of traffic with the course of a day; where whole days differ as well."""
    called = 0
    for _ in range(40):
        chart = charted(traffic(rng, BASELINE_DAYS + 30, day_effect=day_effect))
        days = {
            int(point.since // DAY_S)
            for point in chart.points[24 * BASELINE_DAYS :]
            if (point.average or 0.0) > (chart.limit or 0.0)
        }
        called += len(days)
    assert 0.3 < called / 40 < 1.8


def test_marked_days_and_other_releases_are_no_part_of_the_centre(
    rng: np.random.Generator,
) -> None:
    values = traffic(rng, 30)
    bad = values.copy()
    bad[48:96] += 0.2
    marked = (Window(48 * HOUR_S, 96 * HOUR_S),)
    others = hours(np.full(500, 0.5), release=2)
    chart = chart_of(ESTIMATE, 1, [*others, *hours(bad)], run_length=MONTH, marked=marked)
    assert chart.centre == pytest.approx(0.05, abs=0.003)
    assert chart.normal == 24 * (BASELINE_DAYS + 2)
    assert len(chart.points) == len(values)


def test_a_call_makes_a_watch_at_most(rng: np.random.Generator) -> None:
    values = traffic(rng, 30)
    values[-48:] += 0.05
    chart = charted(values)
    assert chart.is_over
    for outcome in (QUIET, NotEnoughData("few", 10, 0)):
        found = with_chart(outcome, chart)
        assert isinstance(found, Watch)
        assert found.columns == (COLUMN,)
        assert "estimated word error rate" in found.reason
    watch = with_chart(Watch("rms moved", ("rms",)), chart)
    assert watch == Watch(f"rms moved; {chart.reason}", ("rms", COLUMN))
    alarm = with_chart(Alarm("rms drifted", ("rms",)), chart)
    assert isinstance(alarm, Alarm)
    assert alarm.columns == ("rms",)
    assert with_chart(QUIET, None) is QUIET
    assert with_chart(QUIET, charted(traffic(rng, 3))) is QUIET


def test_run_lengths_are_those_of_a_month_as_far_as_they_can_be_stated() -> None:
    assert run_length_of(HOUR_S, 1.0) == MONTH
    assert run_length_of(DAY_S, 15.0) == 2.0
    assert run_length_of(1.0, 0.001) == 1e6
