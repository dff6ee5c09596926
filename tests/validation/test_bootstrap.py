"""The resampling against a plain loop, and what it must not depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validation.bootstrap import ClusterBootstrap, bootstrap_ratio, cluster_codes

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sample(
    speakers: int = 20, each: int = 10, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    random = np.random.default_rng(seed)
    words = random.integers(4, 9, speakers * each)
    skill = np.repeat(random.beta(1, 9, speakers), each)
    errors = random.binomial(words, skill)
    return errors.astype(float), words.astype(float), np.repeat(np.arange(speakers), each)


def bootstrap(seed: int = 1, resamples: int = 2000) -> ClusterBootstrap:
    return bootstrap_ratio(*sample(), resamples=resamples, seed=seed)


def reference_roots(resamples: int) -> NDArray[np.float64]:
    """The same statistic as written in the books: a loop, draws of indices, no shortcuts."""
    errors, words, speakers = sample()
    random = np.random.default_rng(7)
    groups = [np.flatnonzero(speakers == name) for name in np.unique(speakers)]
    over = np.array([errors[group].sum() for group in groups])
    under = np.array([words[group].sum() for group in groups])
    value = over.sum() / under.sum()
    roots = []
    for _ in range(resamples):
        drawn = random.integers(0, len(groups), len(groups))
        ratio = over[drawn].sum() / under[drawn].sum()
        residuals = over[drawn] - ratio * under[drawn]
        count = len(groups)
        error = np.sqrt(count / (count - 1) * (residuals**2).sum()) / under[drawn].sum()
        roots.append((ratio - value) / error)
    return np.sort(roots)


def test_agrees_with_a_loop_over_draws() -> None:
    found = bootstrap(resamples=20_000)
    expected = reference_roots(20_000)
    levels = [0.025, 0.25, 0.5, 0.75, 0.975]
    assert np.quantile(found.roots, levels) == pytest.approx(
        np.quantile(expected, levels), rel=0.06, abs=0.04
    )


def test_standard_error_is_that_of_a_jackknife() -> None:
    errors, words, speakers = sample(speakers=200)
    found = bootstrap_ratio(errors, words, speakers, resamples=200, seed=1)
    over, under = np.bincount(speakers, errors), np.bincount(speakers, words)
    left_out = (over.sum() - over) / (under.sum() - under)
    count = over.size
    jackknife = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    assert found.standard_error == pytest.approx(jackknife, rel=0.02)
    assert found.value == pytest.approx(errors.sum() / words.sum())


def test_same_seed_same_numbers_other_seed_other_numbers() -> None:
    assert (bootstrap(1).roots == bootstrap(1).roots).all()
    assert (bootstrap(1).roots != bootstrap(2).roots).any()


def test_order_of_utterances_and_names_of_clusters_do_not_matter() -> None:
    errors, words, speakers = sample()
    shuffled = np.random.default_rng(3).permutation(errors.size)
    names = [f"speaker {99 - number}" for number in speakers[shuffled]]
    found = bootstrap_ratio(
        errors[shuffled], words[shuffled], cluster_codes(names), resamples=500, seed=1
    )
    expected = bootstrap_ratio(errors, words, speakers, resamples=500, seed=1)
    assert (found.roots == expected.roots).all()
    assert found.interval(0.9) == expected.interval(0.9)


@given(tail=st.floats(0.005, 0.45), limit=st.floats(0.0, 0.3))
@settings(max_examples=300, deadline=None)
def test_p_value_and_upper_bound_never_disagree(tail: float, limit: float) -> None:
    found = SHARED
    if abs(found.upper(tail) - limit) > 1e-12:
        assert (found.p_value(limit) <= tail + 1e-12) == (found.upper(tail) < limit)


SHARED = bootstrap(resamples=999)


def test_bounds_are_ordered_and_hold_the_value() -> None:
    low, high = SHARED.interval(0.95)
    inner_low, inner_high = SHARED.interval(0.8)
    assert low < inner_low < SHARED.value < inner_high < high


def test_utterances_of_one_speaker_are_not_independent() -> None:
    errors, words, speakers = sample(each=40)
    clustered = bootstrap_ratio(errors, words, speakers, resamples=500, seed=1)
    single = bootstrap_ratio(errors, words, np.arange(errors.size), resamples=500, seed=1)
    assert clustered.standard_error > 2 * single.standard_error


def test_equal_clusters_have_no_spread() -> None:
    ones = np.ones(40)
    found = bootstrap_ratio(ones, 7 * ones, np.repeat(np.arange(8), 5), resamples=200, seed=1)
    assert found.standard_error == 0
    assert found.interval(0.95) == (found.value, found.value)
    assert (found.p_value(0.2), found.p_value(0.1)) == (0.0, 1.0)


def test_one_bad_cluster_gives_finite_bounds() -> None:
    errors = np.zeros(60)
    errors[:3] = 6
    found = bootstrap_ratio(
        errors, np.full(60, 6.0), np.repeat(np.arange(20), 3), resamples=2000, seed=1
    )
    assert np.isfinite(found.roots).all()
    assert np.isfinite(found.interval(0.95)).all()


@pytest.mark.parametrize("clusters", [0, 1])
def test_too_few_clusters_are_refused(clusters: int) -> None:
    column = np.ones(clusters)
    with pytest.raises(ValueError, match="two clusters"):
        bootstrap_ratio(column, column, np.arange(clusters), resamples=200, seed=1)


def test_blocks_of_weights_give_the_same_law(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap(resamples=4000).interval(0.9)
    monkeypatch.setattr("validation.bootstrap._BLOCK_CELLS", 100)
    assert bootstrap(resamples=4000).interval(0.9) == whole


def test_cluster_codes_number_sorted_names() -> None:
    assert cluster_codes(["b", "a", "b", "c"]).tolist() == [1, 0, 1, 2]
    assert cluster_codes([]).size == 0
