"""Distances measured by their own past."""

from __future__ import annotations

import json

import numpy as np
import pytest

from drift.history import History, WindowDistances, expected_squares, stand
from drift.windows import DAY_S, Basis, Window

NAMES = (("rms", "wasserstein"), ("rms", "missing"), ("snr_db", "psi"))


def window(
    day: int, hour: int = 0, *, values: tuple[float, ...] = (0.1, 0.0, 0.01), units: int = 500
) -> WindowDistances:
    since = day * DAY_S + hour * 3600
    return WindowDistances(
        span=Window(since, since + 3600),
        basis=Basis.SAME_HOURS,
        window_units=units,
        reference_units=7 * units,
        values=dict(zip(NAMES, values, strict=True)),
    )


def past(rng: np.random.Generator, days: int, *, hours: int = 6) -> list[WindowDistances]:
    return [
        window(day, hour, values=(abs(rng.normal()) / 10, 0.0, rng.exponential() / 100))
        for day in range(days)
        for hour in range(hours)
    ]


def test_json_and_back() -> None:
    kept = window(3, values=(0.123456, 0.0, 2.5))
    body = json.loads(json.dumps(kept.to_json()))
    assert WindowDistances.from_json(body) == kept
    with pytest.raises((KeyError, ValueError)):
        WindowDistances.from_json(body | {"basis": "another"})


def test_a_window_like_the_past_scores_low_and_one_unlike_it_high(
    rng: np.random.Generator,
) -> None:
    history = History.of(past(rng, 30), basis=Basis.SAME_HOURS)
    usual = stand(window(30, values=(0.07, 0.0, 0.007)), history, 60)
    far = stand(window(30, values=(0.07, 0.0, 0.4)), history, 60)
    assert usual.largest < 2
    assert far.largest > usual.day_maxima.max()
    assert far.signals[int(np.nanargmax(far.scores))] == ("snr_db", "psi")
    assert len(usual.day_maxima) == 30


def test_only_earlier_days_and_the_newest_of_them_count(rng: np.random.Generator) -> None:
    history = History.of(past(rng, 30), basis=Basis.SAME_HOURS)
    assert len(stand(window(20), history, 60).day_maxima) == 20
    assert len(stand(window(30), history, 15).day_maxima) == 15


def test_a_day_with_few_windows_is_no_day(rng: np.random.Generator) -> None:
    kept = past(rng, 20) + past(rng, 21)[-1:]
    history = History.of(kept, basis=Basis.SAME_HOURS)
    assert len(stand(window(21), history, 60).day_maxima) == 20


def test_marked_stretches_other_bases_and_empty_sides_are_left_out() -> None:
    other = WindowDistances(window(5).span, Basis.RELEASE, 10, 10, {}, 3)
    kept = [window(1), window(2), window(3), other, window(4, units=0)]
    history = History.of(
        kept, basis=Basis.SAME_HOURS, marked=(Window(2 * DAY_S + 1000, 2 * DAY_S + 1001),)
    )
    assert history.days.tolist() == [1, 3]
    assert History.of(kept, basis=Basis.RELEASE, release=3).days.tolist() == [5]
    assert not len(History.of(kept, basis=Basis.RELEASE, release=4).days)
    assert WindowDistances.from_json(other.to_json()) == other


def test_without_a_past_nothing_is_scored() -> None:
    standing = stand(window(1), History.none(), 60)
    assert standing.largest == -np.inf
    assert not len(standing.day_maxima)


def test_a_column_that_the_past_does_not_have_has_no_score(rng: np.random.Generator) -> None:
    history = History.of(past(rng, 20), basis=Basis.SAME_HOURS)
    new = WindowDistances(window(20).span, Basis.SAME_HOURS, 9, 9, {("new", "psi"): 9.0})
    assert stand(new, history, 60).largest == -np.inf


def test_small_windows_are_expected_to_be_further_away(rng: np.random.Generator) -> None:
    """Squares are 0.002 + 3 noise: both parts are found again, and missing values left out."""
    noise = rng.uniform(0.001, 0.02, 4000)
    squares = (0.002 + 3 * noise) * rng.uniform(0.5, 1.5, 4000)
    squares[::7] = np.nan
    found = expected_squares(squares[:, None], noise)[:, 0]
    assert found == pytest.approx(0.002 + 3 * noise, rel=0.15)


def test_sizes_that_speak_against_it_leave_the_mean(rng: np.random.Generator) -> None:
    noise = rng.uniform(0.001, 0.002, 500)
    squares = 0.01 - 2 * noise
    found = expected_squares(squares[:, None], noise)
    assert found == pytest.approx(np.full((500, 1), squares.mean()))
    same = expected_squares(squares[:, None], np.full(500, 0.001))
    assert same == pytest.approx(np.full((500, 1), squares.mean()))
