"""Exact bounds against scipy, and that p-values and intervals agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped] # scipy has no types

from validation.estimate import Estimate, estimate_rate
from validation.exact import RareEvents

SPEAKERS = np.repeat(np.arange(32), 14)
WORDS = np.full(448, 6.0)


def estimate(errors: Any, **settings: Any) -> Estimate:
    chosen = {"confidence": 0.95, "resamples": 1000, "seed": 1} | settings
    return estimate_rate(np.asarray(errors, float), WORDS, SPEAKERS, **chosen)


@given(events=st.integers(0, 300), tail=st.floats(0.001, 0.4))
@settings(max_examples=100, deadline=None)
def test_exact_bound_is_clopper_and_pearsons(events: int, tail: float) -> None:
    found = RareEvents(events, 300, cost=1.0).upper(tail)
    reference = stats.binomtest(events, 300, alternative="less").proportion_ci(1 - tail)
    assert found == pytest.approx(reference.high)


@given(events=st.integers(0, 40), limit=st.floats(0.001, 0.999))
@settings(max_examples=100, deadline=None)
def test_exact_p_value_is_the_binomial_tests(events: int, limit: float) -> None:
    found = RareEvents(events, 40, cost=1.0).p_value(limit)
    assert found == pytest.approx(stats.binomtest(events, 40, limit, alternative="less").pvalue)


def test_no_error_is_not_proof_of_no_error() -> None:
    found = estimate(np.zeros(448))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 448))


def test_identical_answers_bound_the_difference_by_what_errors_cost() -> None:
    found = estimate(np.zeros(448), fault_cost=1.2)
    assert found.high == pytest.approx((1 - 0.025 ** (1 / 448)) * 1.2 / 6)


def test_gains_count_against_rare_losses() -> None:
    errors = np.zeros(448)
    errors[::2] = -1
    assert estimate(errors).high < 0


def test_a_rate_has_no_negative_bound_but_a_difference_has() -> None:
    errors = np.zeros(448)
    errors[:3] = 2
    assert estimate(errors).low == 0
    errors[100] = -1
    assert estimate(errors).low < 0


@given(limit=st.floats(0.001, 0.2), seed=st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_p_value_and_upper_end_never_disagree(limit: float, seed: int) -> None:
    errors = np.random.default_rng(seed).binomial(6, 0.002 * (seed + 1), 448)
    found = estimate(errors, resamples=400)
    if abs(found.high - limit) > 1e-9:
        assert (found.p_value(limit) < found.tail) == (found.high < limit)


def test_more_data_like_this_would_decide() -> None:
    errors = np.random.default_rng(4).binomial(6, 0.04, 448)
    found = estimate(errors)
    limit = found.value + (found.high - found.value) / 2
    more = found.more_needed(limit)
    assert more is not None
    # Half the width takes four times the data.
    assert more.clusters == pytest.approx(3 * 32, rel=0.15)
    assert more.utterances == pytest.approx(3 * 448, rel=0.15)
    assert found.more_needed(found.value) is None
