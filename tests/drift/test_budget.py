"""A threshold holds its stated share of days, whatever the days are like."""

from __future__ import annotations

import numpy as np
import pytest

from drift.budget import LEAST_DAYS, Basis, Threshold, TooFewDays, days_by_rank, threshold_of


def passed(maxima: np.ndarray, share: float) -> np.ndarray:
    """Which of the last days [runs] pass the threshold of those before them [runs, days]."""
    found = []
    for days in maxima:
        threshold = threshold_of(days[:-1], share)
        assert isinstance(threshold, Threshold)
        found.append(days[-1] > threshold.value)
    return np.array(found)


@pytest.mark.parametrize("shape", ["normal", "exponential", "heavy"])
def test_by_rank_the_share_holds_whatever_the_distribution(
    rng: np.random.Generator, shape: str
) -> None:
    size = (4000, 34)
    days = {
        "normal": rng.normal(size=size),
        "exponential": rng.exponential(size=size),
        "heavy": rng.standard_cauchy(size),
    }[shape]
    share = passed(days, 0.03).mean()
    assert 0.03 - 4 * 0.0027 <= share <= 0.03 + 4 * 0.0027


def test_between_two_ranks_the_share_still_holds(rng: np.random.Generator) -> None:
    share = passed(rng.gumbel(size=(4000, 61)), 0.04).mean()
    assert 0.04 - 4 * 0.0031 <= share <= 0.04 + 4 * 0.0031


def test_the_fitted_tail_holds_for_a_maximum_of_many(rng: np.random.Generator) -> None:
    days = rng.normal(size=(4000, LEAST_DAYS + 1, 100)).max(axis=2)
    share = passed(days, 0.03).mean()
    assert 0.5 * 0.03 <= share <= 2 * 0.03


def test_what_a_threshold_rests_on_is_said(rng: np.random.Generator) -> None:
    assert days_by_rank(0.03) == 33
    assert threshold_of(rng.normal(size=10), 0.03) == TooFewDays(10, LEAST_DAYS - 10)
    bases = [threshold_of(rng.normal(size=days), 0.03) for days in (32, 33)]
    assert [found.basis for found in bases if isinstance(found, Threshold)] == [
        Basis.FITTED_TAIL,
        Basis.RANK,
    ]
