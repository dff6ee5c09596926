"""Randomisation by cluster against scipy's, sacrebleu's, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped] # scipy has no types

from validation.estimate import Method, estimate_difference
from validation.measures import Measure
from validation.randomisation import ClusterRandomisation, randomise
from validation.slices import Slice


def sample(count: int = 30, shift: float = 0.4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, count)


def randomised(values: np.ndarray, resamples: int = 20_000, seed: int = 1) -> ClusterRandomisation:
    sizes = np.full(values.size, 1 / values.size)
    shares = (values - values.mean()) * sizes
    return randomise(float(values.mean()), shares, sizes, resamples=resamples, seed=seed)


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.6])
def test_p_values_are_those_of_scipys_permutation_test(shift: float) -> None:
    values = sample(shift=shift)
    nothing = np.zeros(values.size)
    for found, alternative in (
        (randomised(values).p_value(0.0), "less"),
        (randomised(values).p_above(0.0), "greater"),
    ):
        reference = stats.permutation_test(
            (values, nothing),
            lambda x, y, axis: np.mean(x - y, axis=axis),
            permutation_type="samples",
            alternative=alternative,
            n_resamples=20_000,
            vectorized=True,
            rng=np.random.default_rng(2),
        )
        assert found == pytest.approx(reference.pvalue, abs=0.012)


def test_interval_is_near_students_for_even_data() -> None:
    values = sample(count=40)
    found = randomised(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.lower(0.025) == pytest.approx(expected.low, abs=0.03)
    assert found.upper(0.025) == pytest.approx(expected.high, abs=0.03)


SHARED = randomised(sample(), resamples=999)


@given(tail=st.floats(0.005, 0.45), limit=st.floats(-1, 2))
@settings(max_examples=300, deadline=None)
def test_p_values_and_bounds_never_disagree(tail: float, limit: float) -> None:
    if abs(SHARED.upper(tail) - limit) > 1e-9:
        assert (SHARED.p_value(limit) <= tail + 1e-12) == (SHARED.upper(tail) < limit)
    if abs(SHARED.lower(tail) - limit) > 1e-9:
        assert (SHARED.p_above(limit) <= tail + 1e-12) == (SHARED.lower(tail) > limit)


def test_same_seed_same_numbers() -> None:
    assert (randomised(sample()).rises == randomised(sample()).rises).all()
    assert (randomised(sample()).rises != randomised(sample(), seed=2).rises).any()


def test_blocks_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = randomised(sample(), resamples=500).rises
    monkeypatch.setattr("validation.randomisation._BLOCK_CELLS", 64 * 30)
    assert np.isfinite(randomised(sample(), resamples=500).rises).all()
    assert randomised(sample(), resamples=500).rises.shape == whole.shape


def test_nothing_that_varies_is_no_spread() -> None:
    found = randomised(np.full(10, 0.5))
    assert (found.standard_error, found.lower(0.025), found.upper(0.025)) == (0.0, 0.5, 0.5)
    assert (found.p_value(0.6), found.p_above(0.4), found.p_value(0.4)) == (0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="two clusters"):
        randomised(np.ones(1))


def test_speakers_are_swapped_whole() -> None:
    random = np.random.default_rng(4)
    ours = np.repeat(random.normal(0, 1, 20), 10) + random.normal(0, 0.1, 200)
    measure, other = Measure.mean(ours, np.ones(200)), Measure.mean(np.zeros(200), np.ones(200))
    every = np.arange(200)
    method = Method(name="randomisation")
    by_speaker = estimate_difference(measure, other, Slice("all", every, every // 10), method)
    by_utterance = estimate_difference(measure, other, Slice("all", every, every), method)
    assert by_speaker.sampled.standard_error > 2.5 * by_utterance.sampled.standard_error
