from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.windows import (
    DAY_S,
    Basis,
    Own,
    Window,
    choose_reference,
    first_days,
    same_hours,
    tumbling_by_count,
    tumbling_by_time,
)

seconds = st.integers(min_value=0, max_value=4_000_000_000)


@given(seconds, st.integers(1, 500_000), st.integers(300, 90_000))
def test_time_windows_tile_without_overlap(since: int, length: int, step: int) -> None:
    span = Window(since, since + length)
    windows = tumbling_by_time(span, step)
    assert all(window.since >= span.since and window.until <= span.until for window in windows)
    assert all(a.until == b.since for a, b in pairwise(windows))
    assert all(window.since % step == 0 for window in windows)
    assert length - len(windows) * step < 2 * step


def test_time_windows_do_not_depend_on_when_the_check_runs() -> None:
    early = tumbling_by_time(Window(1000, 20_000), 3600)
    late = tumbling_by_time(Window(3000, 25_000), 3600)
    assert set(early) & set(late) == set(early)


@given(st.integers(0, 200), st.integers(1, 50))
def test_count_windows_hold_exactly_their_count(rows: int, count: int) -> None:
    at = np.sort(np.random.default_rng(rows).random(rows))
    windows = tumbling_by_count(at, count)
    assert len(windows) == rows // count
    assert [window.first for window in windows] == list(range(0, len(windows) * count, count))
    for window in windows:
        inside = at[window.first : window.first + window.count]
        assert (window.since, window.until) == (inside[0], inside[-1])


def test_unsorted_times_are_refused() -> None:
    with pytest.raises(ValueError, match="not sorted"):
        tumbling_by_count(np.array([2.0, 1.0]), 1)


def test_same_hours_of_earlier_days_oldest_first() -> None:
    window = Window(10 * DAY_S + 100, 10 * DAY_S + 3700)
    before = same_hours(window, 2)
    assert [reference.since for reference in before] == [8 * DAY_S + 100, 9 * DAY_S + 100]
    assert all(reference.seconds == 3600 for reference in before)
    assert not any(reference.until > window.since for reference in before)


def test_a_window_of_more_than_a_day_has_no_same_hours() -> None:
    with pytest.raises(ValueError, match="overlaps"):
        same_hours(Window(0, DAY_S + 1), 1)


def test_a_window_is_half_open() -> None:
    inside = Window(10, 20).contains(np.array([9.9, 10.0, 19.9, 20.0]))
    assert inside.tolist() == [False, True, True, False]


@pytest.mark.parametrize(("since", "until"), [(1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)])
def test_a_window_that_is_none_is_refused(since: float, until: float) -> None:
    with pytest.raises(ValueError, match="window"):
        Window(since, until)


NOON = Window(10 * DAY_S + 43_200, 10 * DAY_S + 46_800)
FIRST = (Window(5 * DAY_S, 6 * DAY_S),)


@pytest.mark.parametrize(
    ("recorded", "own", "basis"),
    [
        (3, Own(4, FIRST, is_gated=True), Basis.SAME_HOURS),
        (2, Own(4, FIRST, is_gated=True), Basis.RELEASE),
        (2, Own(4, (), is_gated=True), Basis.GATE),
        (2, Own(4), Basis.NONE),
        (0, Own(), Basis.NONE),
    ],
)
def test_the_reference_is_the_best_that_there_is(recorded: int, own: Own, basis: Basis) -> None:
    spans = same_hours(NOON, 7)
    chosen = choose_reference(
        NOON, 7, 3, recorded={span.since for span in spans[:recorded]}, own=own
    )
    assert chosen.basis is basis
    assert chosen.days_more == max(0, 3 - recorded)
    assert chosen.release == (0 if basis is Basis.SAME_HOURS else own.release)
    expected = {Basis.SAME_HOURS: spans[:recorded], Basis.RELEASE: FIRST}
    assert chosen.windows == expected.get(basis, ())
    assert basis.words


def test_a_reference_that_overlaps_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="overlaps"):
        choose_reference(NOON, 7, 3, recorded=(), own=Own(1, (Window(0, NOON.until),)))


def test_first_days_are_whole_over_and_healthy() -> None:
    settled = 5 * DAY_S + 100
    days = first_days(settled, NOON, 9)
    assert [day.since - settled for day in days] == [n * DAY_S for n in range(5)]
    assert all(day.until <= NOON.since for day in days)
    assert first_days(settled, NOON, 2) == days[:2]
    ill = Window(days[1].since + 50, days[1].since + 60)
    assert first_days(settled, NOON, 2, (ill,)) == (days[0], days[2])
    assert first_days(settled, NOON, 9, (Window(settled, 1e15),)) == ()
    assert first_days(NOON.since, NOON, 9) == ()
