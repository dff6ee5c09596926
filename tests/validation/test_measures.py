"""Measures of sets are functions of sums, whichever utterances are summed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.measures import Measure

faults = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=12)


@given(faults, st.integers(0, 99))
def test_a_ratio_is_of_sums_in_every_resample(rows: list[tuple[int, int]], seed: int) -> None:
    over, under = [row[0] for row in rows], [row[1] for row in rows]
    measure = Measure.ratio(over, under)
    drawn = np.random.default_rng(seed).integers(0, len(rows), (3, len(rows)))
    found = measure.of(measure.statistics[drawn].sum(axis=1))
    for value, members in zip(found, drawn, strict=True):
        chances = sum(under[row] for row in members)
        expected = sum(over[row] for row in members) / chances if chances else np.nan
        np.testing.assert_equal(value, expected)
        np.testing.assert_equal(measure.value_of(members), expected)


def test_a_mean_leaves_out_what_is_not_there() -> None:
    measure = Measure.mean([3.0, -1.0, np.nan], [True, True, False], unit="dB")
    assert measure.value == 1.0
    assert not measure.is_ratio
    assert measure.better == "higher"
    assert np.isnan(measure.value_of(np.array([2])))


def test_nothing_has_no_value() -> None:
    measure = Measure.ratio([0.0, 1.0], [0.0, 2.0])
    assert np.isnan(measure.value_of(np.array([0])))
    assert np.isnan(measure.value_of(np.array([], dtype=np.intp)))
    assert measure.value == 0.5


def test_an_utterance_without_a_number_is_in_no_value() -> None:
    measure = Measure(np.array([[1.0, 1.0], [np.nan, 1.0]]))
    assert np.isnan(measure.value)
    assert measure.value_of(np.array([0])) == 1.0


@pytest.mark.parametrize(
    ("statistics", "is_ratio", "reason"),
    [
        (np.zeros(3), False, "utterances, K"),
        (np.zeros((3, 3)), True, "two columns"),
        (np.array([[-1.0, 1.0]]), True, "at least 0"),
    ],
)
def test_what_is_no_measure_is_refused(statistics: np.ndarray, is_ratio: bool, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Measure(statistics, is_ratio=is_ratio)
