"""Curves of the drift page: the evidence, and the estimated quality."""

from __future__ import annotations

import math

import numpy as np
import pytest

from canary.explain_plot import BUCKETS
from drift.evidence_view import Evidence, evidence_view
from drift.quality_chart import ChartPoint, QualityChart
from drift.quality_estimate import StatedError
from drift.quality_view import SHOWN, quality_view

ERROR = StatedError(0.03, 0.012, 0.4, 400, 100)


def points_of(line: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (one.split(",") for one in line.split())]


def test_the_curve_begins_at_one_and_crosses_the_line_when_it_acts() -> None:
    curve = tuple((100.0 + i, 10 * i, math.exp(0.1 * i)) for i in range(1, 61))
    view = evidence_view(Evidence(curve, 0.01))
    assert view is not None
    drawn = points_of(view.line)
    assert drawn[0] == (0.0, view.one)
    assert drawn[-1][0] == 100.0
    assert drawn[-1][1] < view.acts < view.one
    # The line of 100 is reached at log 100 = 4.6: block 47 of 60.
    first = min(x for x, y in drawn if y < view.acts)
    assert first == pytest.approx(100 * 47 / 60, abs=0.5)
    assert (view.reached, view.acts_text, view.pairs) == (True, "100", 600)


def test_an_e_value_that_fell_again_was_reached_all_the_same() -> None:
    curve = ((1.0, 10, 500.0), (2.0, 20, 3.0))
    evidence = Evidence(curve, 0.01)
    assert (evidence.reached, evidence.e_value) == (True, 3.0)
    view = evidence_view(evidence)
    assert view is not None
    assert view.sentence == "e-value 3 after 20 pairs; acts at 100"


@pytest.mark.parametrize("value", [0.0, 1e-300, 1e308, math.inf, math.nan])
def test_values_at_the_ends_of_what_a_float_holds_are_drawn(value: float) -> None:
    view = evidence_view(Evidence(((1.0, 10, 2.0), (2.0, 20, value)), 0.01))
    assert view is not None
    assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in points_of(view.line))


def test_before_the_first_pair_there_is_nothing_to_draw() -> None:
    evidence = Evidence((), 0.01)
    assert evidence_view(evidence) is None
    assert (evidence.pairs, evidence.e_value, evidence.reached) == (0, 1.0, False)


def test_a_long_curve_is_thinned_and_keeps_its_highest_value() -> None:
    values = np.exp(np.random.default_rng(1).normal(0, 1, 50_000))
    curve = tuple((float(i), i + 1, float(value)) for i, value in enumerate(values))
    view = evidence_view(Evidence(curve, 1e-6))
    assert view is not None
    drawn = points_of(view.line)
    assert len(drawn) <= 3 * (BUCKETS + 1) + 2
    top = math.log(1e6) * 1.1
    highest = 100 * (top - math.log(values.max())) / (top * 4 / 3)
    assert min(y for _, y in drawn) == pytest.approx(highest, abs=0.01)


def chart(averages: list[float | None], limit: float | None) -> QualityChart:
    points = tuple(
        ChartPoint(3600.0 * i, 3600.0 * (i + 1), 0.05 + 0.01 * (i % 3), average)
        for i, average in enumerate(averages)
    )
    centre = None if limit is None else 0.05
    return QualityChart(4, ERROR, 500.0, points, 100, centre, limit, 12, 3)


def test_the_quality_chart_draws_its_limit_and_says_when_it_is_over() -> None:
    view = quality_view(chart([0.05] * 50 + [0.06 + 0.002 * i for i in range(10)], 0.07))
    assert view is not None
    assert (view.mood, view.status) == ("watch", "over its limit")
    assert view.limit is not None
    assert view.centre is not None
    drawn = points_of(view.line)
    assert drawn[-1][1] < view.limit < view.centre
    assert len(view.dots) == len(drawn) == 60
    assert "7.8% on average" in view.sentence
    assert "One false call in 500 windows" in view.sentence
    assert "1.2%" in view.sentence


def test_a_quality_chart_without_a_limit_shows_its_windows_and_what_is_missing() -> None:
    view = quality_view(chart([None] * 8, None))
    assert view is not None
    assert (view.mood, view.line, view.limit, view.centre) == ("not", "", None, None)
    assert len(view.dots) == 8
    assert "3 more days" in view.sentence
    assert quality_view(chart([], None)) is None


def test_only_the_newest_windows_are_drawn() -> None:
    view = quality_view(chart([0.05] * 1000, 0.07))
    assert view is not None
    assert len(view.dots) == SHOWN
    assert view.since == 3600.0 * (1000 - SHOWN)
