"""Exact bounds against scipy, and that p-values and intervals agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped] # scipy has no types

from validation.estimate import (
    Estimate,
    Method,
    estimate_difference,
    estimate_measure,
    estimate_rate,
)
from validation.exact import RareEvents
from validation.measures import Measure
from validation.slices import Slice

SPEAKERS = np.repeat(np.arange(32), 14)
WORDS = np.full(448, 6.0)


def estimate(errors: Any, **settings: Any) -> Estimate:
    cost = settings.pop("fault_cost", None)
    method = Method(**{"resamples": 1000, **settings})
    return estimate_rate(np.asarray(errors, float), WORDS, SPEAKERS, method=method, fault_cost=cost)


@given(events=st.integers(0, 300), tail=st.floats(0.001, 0.4))
@settings(max_examples=100, deadline=None)
def test_exact_bound_is_clopper_and_pearsons(events: int, tail: float) -> None:
    found = RareEvents(events, 300, cost=1.0).upper(tail)
    reference = stats.binomtest(events, 300, alternative="less").proportion_ci(1 - tail)
    assert found == pytest.approx(reference.high)


@given(
    events=st.integers(0, 60),
    trials=st.integers(60, 600),
    limit=st.floats(0.001, 0.3),
    gains=st.floats(0, 0.1),
)
@settings(max_examples=100, deadline=None)
def test_chance_to_pass_is_that_of_counting_every_outcome(
    events: int, trials: int, limit: float, gains: float
) -> None:
    found = RareEvents(events, trials, cost=0.8, credit=gains)
    changed = (events / trials * 0.8 + gains) / 2
    outcomes = [
        count
        for count in range(trials)
        if RareEvents(count, trials, 0.8, changed).upper(0.025) < limit
    ]
    expected = stats.binom.cdf(max(outcomes), trials, changed / 0.8) if outcomes else 0.0
    assert found.passing(limit, truth=0, factor=1, tail=0.025) == pytest.approx(expected)


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


METHODS = st.sampled_from(["bootstrap", "randomisation"])


@given(limit=st.floats(0.001, 0.2), seed=st.integers(0, 20), name=METHODS)
@settings(max_examples=80, deadline=None)
def test_p_value_and_upper_end_never_disagree(limit: float, seed: int, name: str) -> None:
    errors = np.random.default_rng(seed).binomial(6, 0.002 * (seed + 1), 448)
    found = estimate(errors, resamples=400, name=name)
    if abs(found.high - limit) > 1e-9:
        assert (found.p_value(limit) < found.tail) == (found.high < limit)


@given(limit=st.floats(0.001, 0.2), seed=st.integers(0, 20), name=METHODS)
@settings(max_examples=80, deadline=None)
def test_the_other_p_value_and_the_lower_end_never_disagree(
    limit: float, seed: int, name: str
) -> None:
    errors = np.random.default_rng(seed).binomial(6, 0.002 * (seed + 1), 448)
    found = estimate(errors, resamples=400, name=name)
    if found.low > 0 and abs(found.low - limit) > 1e-9:
        assert (found.p_above(limit) <= found.tail) == (found.low > limit)


def part() -> Slice:
    return Slice("all", np.arange(448), SPEAKERS)


@pytest.mark.parametrize("name", ["bootstrap", "randomisation"])
def test_a_score_is_turned_round_and_a_difference_is_how_much_worse(name: Any) -> None:
    random = np.random.default_rng(3)
    method = Method(name=name)
    score = Measure.mean(random.normal(10, 2, 448), np.ones(448), unit="dB")
    lower = Measure.mean(score.statistics[:, 0] - 1, np.ones(448), unit="dB")
    found = estimate_measure(score, part(), method)
    assert found.value == pytest.approx(-score.value)
    assert found.low < -score.value < found.high
    assert found.rare is None
    loss = estimate_difference(lower, score, part(), method)
    assert (loss.value, loss.low) == pytest.approx((1, 1))
    assert loss.high == pytest.approx(1, abs=0.1)


def test_identical_sound_is_no_proof_that_none_would_differ() -> None:
    same = Measure.mean(np.random.default_rng(3).normal(10, 2, 448), np.ones(448), unit="dB")
    found = estimate_difference(same, same, part(), Method())
    assert found.low == found.value == 0
    assert 0 < found.high < 0.1


def test_a_ratio_of_errors_and_the_same_as_any_function_agree() -> None:
    """Both ways to an interval: summed moments, and slopes of an unknown function."""
    random = np.random.default_rng(5)
    ours, theirs = random.binomial(6, 0.06, 448), random.binomial(6, 0.04, 448)
    known = estimate_difference(
        Measure.ratio(ours, WORDS), Measure.ratio(theirs, WORDS), part(), Method()
    )
    unknown = estimate_difference(
        Measure.ratio(ours, WORDS, unit="score"),
        Measure.ratio(theirs, WORDS, unit="score"),
        part(),
        Method(),
    )
    assert unknown.value == pytest.approx(known.value)
    assert unknown.sampled.standard_error == pytest.approx(known.sampled.standard_error)
    assert [unknown.low, unknown.high] == pytest.approx([known.low, known.high], rel=0.1)
