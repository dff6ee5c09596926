"""Holm's correction against its definition, and what it keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.correction import holm


def test_a_worked_example() -> None:
    """Of Holm's procedure: 0.01 x 4, 0.02 x 3, then never less than the one before."""
    assert holm([0.02, 0.01, 0.03, 0.04]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_none_and_one_are_left_alone() -> None:
    assert holm([]) == []
    assert holm([0.04]) == [0.04]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_between_no_correction_and_bonferronis(p_values: list[float]) -> None:
    for p_value, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p_value <= adjusted <= min(1.0, len(p_values) * p_value) + 1e-12


def test_one_false_rejection_among_many_stays_rare() -> None:
    random = np.random.default_rng(1)
    sets = random.random((4000, 20))
    assert np.mean([min(holm(row)) <= 0.05 for row in sets]) == pytest.approx(0.05, abs=0.015)
