"""The e-processes: their closed form, a reference library, and what makes them valid."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln  # type: ignore[import-untyped] # scipy has no types
from scipy.stats import beta  # type: ignore[import-untyped] # scipy has no types

from canary.evidence import (
    EProcess,
    RatioBets,
    Stratum,
    harm_bets,
    log_mixture,
    no_harm_bets,
    sick_bets,
)

SHARES = st.floats(0.02, 0.98)


def log_e(bets: RatioBets, *strata: tuple[int, int, float]) -> float:
    process = EProcess.of(bets)
    for stratum in strata:
        process = process.after(bets.log_payoffs(*stratum))
    return process.log_e


def truncated_beta(candidate: int, total: int, share: float) -> float:
    """log B(1+K, 1+N-K) / (B(1, 1) r^K (1-r)^(N-K)), the prior uniform on p in (r, 1)."""
    likelihood = betaln(1 + candidate, 1 + total - candidate) + np.log(
        beta.sf(share, 1 + candidate, 1 + total - candidate)
    )
    null = candidate * math.log(share) + (total - candidate) * math.log(1 - share)
    return float(likelihood - math.log(1 - share) - null)


@pytest.mark.parametrize(
    ("candidate", "total"), [(0, 0), (3, 4), (10, 30), (50, 300), (120, 1000), (5, 400)]
)
def test_one_stratum_agrees_with_the_truncated_beta_closed_form(candidate: int, total: int) -> None:
    share = 0.1
    points, weights = np.polynomial.legendre.leggauss(64)
    part = share + (1 - share) * (points + 1) / 2
    ratios = part * (1 - share) / ((1 - part) * share)
    bets = RatioBets(1.0, tuple(ratios), tuple(weights / 2))
    assert log_e(bets, (candidate, total, share)) == pytest.approx(
        truncated_beta(candidate, total, share), abs=1e-6
    )


def test_two_sided_agrees_with_savvi() -> None:
    """savvi's multinomial test is the same mixture with a Beta prior on both sides."""
    savvi = pytest.importorskip("savvi.multinomial")
    share, strength = 0.2, 20.0
    reference = savvi.Multinomial(0.05, np.array([1 - share, share]), k=strength)
    part = (np.arange(4000) + 0.5) / 4000
    weights = beta.pdf(part, strength * share, strength * (1 - share))
    ratios = part * (1 - share) / ((1 - part) * share)
    bets = RatioBets(1.0, tuple(ratios), tuple(weights / weights.sum()))
    process = EProcess.of(bets)
    for baseline, candidate in ((3, 1), (5, 4), (2, 6), (9, 3)):
        reference.update(np.array([baseline, candidate]))
        process = process.after(bets.log_payoffs(candidate, baseline + candidate, share))
        assert process.log_e == pytest.approx(math.log(reference.odds), abs=1e-4)


def binomial(count: int, chance: float) -> list[tuple[int, float]]:
    return [
        (events, math.comb(count, events) * chance**events * (1 - chance) ** (count - events))
        for events in range(count + 1)
    ]


@given(st.integers(1, 8), st.integers(1, 8), st.floats(0.01, 0.95), st.floats(0.0, 1.0))
def test_no_bet_is_expected_to_win_when_the_candidate_is_no_worse(
    candidate: int, baseline: int, chance: float, ratio: float
) -> None:
    """Exact: the mean payoff over all outcomes of one block, at its own measured share."""
    share = candidate / (candidate + baseline)
    bets = harm_bets()
    mean = sum(
        p * q * np.exp(bets.log_payoffs(bad, bad + other, share))
        for (bad, p), (other, q) in itertools.product(
            binomial(candidate, ratio * chance), binomial(baseline, chance)
        )
    )
    assert np.all(mean <= 1 + 1e-9)


@given(st.integers(1, 8), st.integers(1, 8), st.floats(0.01, 0.4), st.floats(1.0, 1.25))
def test_no_bet_on_no_harm_is_expected_to_win_when_harm_is_beyond_the_margin(
    candidate: int, baseline: int, chance: float, beyond: float
) -> None:
    share, margin = candidate / (candidate + baseline), 2.0
    bets = no_harm_bets(margin)
    mean = sum(
        p * q * np.exp(bets.log_payoffs(bad, bad + other, share))
        for (bad, p), (other, q) in itertools.product(
            binomial(candidate, margin * beyond * chance), binomial(baseline, chance)
        )
    )
    assert np.all(mean <= 1 + 1e-9)


@given(st.integers(1, 20), st.floats(0.0, 0.5))
def test_no_bet_on_sickness_is_expected_to_win_below_the_limit(count: int, chance: float) -> None:
    bets = sick_bets(0.5)
    mean = sum(p * np.exp(bets.log_payoffs(bad, count)) for bad, p in binomial(count, chance))
    assert np.all(mean <= 1 + 1e-9)


@given(st.integers(2, 5), st.integers(1, 4), st.integers(1, 4), st.floats(0.01, 0.9))
def test_sessions_that_fail_together_are_fair_at_their_stated_size(
    size: int, candidate: int, baseline: int, chance: float
) -> None:
    share = candidate / (candidate + baseline)
    bets = harm_bets()
    mean = sum(
        p * q * np.exp(bets.log_payoffs(size * bad, size * (bad + other), share) / size)
        for (bad, p), (other, q) in itertools.product(
            binomial(candidate, chance), binomial(baseline, chance)
        )
    )
    assert np.all(mean <= 1 + 1e-9)


@given(st.integers(0, 500), SHARES)
def test_events_of_one_arm_alone_say_nothing_where_only_one_arm_answers(
    events: int, share: float
) -> None:
    assert log_e(harm_bets(), (events, events, 1.0)) == pytest.approx(0, abs=1e-9)
    assert log_e(harm_bets(), (0, events, 0.0)) == pytest.approx(0, abs=1e-9)
    assert log_e(harm_bets(), (0, events, share)) <= 1e-9


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 200), SHARES), max_size=5))
def test_the_order_of_strata_does_not_matter(strata: list[tuple[int, int, float]]) -> None:
    counts = [(events, events + more, share) for events, more, share in strata]
    forward, backward = log_e(harm_bets(), *counts), log_e(harm_bets(), *reversed(counts))
    assert forward == pytest.approx(backward, abs=1e-8)


def test_more_events_of_the_candidate_are_more_evidence() -> None:
    values = [log_e(harm_bets(), (events, 100, 0.1)) for events in range(5, 101)]
    assert values == sorted(values)


def test_ten_million_events_do_not_overflow() -> None:
    harm = log_e(harm_bets(), (1_100_000, 10_000_000, 0.1))
    well = log_e(harm_bets(), (1_000_000, 10_000_000, 0.1))
    assert 1000 < harm < math.inf
    assert -math.inf < well < 0


def test_alpha_is_reached_exactly_at_its_inverse() -> None:
    process = EProcess((1.0,), (math.log(100.0),))
    assert process.reaches(0.01)
    assert not process.reaches(0.00999)
    assert not process.reaches(0.0)


def test_the_mixture_is_the_weighted_mean() -> None:
    wealth = np.log(np.array([[1.0, 3.0], [2.0, 8.0]]))
    assert np.exp(log_mixture(wealth, (0.25, 0.75))) == pytest.approx([2.5, 6.5])


@pytest.mark.parametrize(
    "counts", [(3, 2, 0.5), (-1, 2, 0.5), (1, 2, 1.5), (1, 2, 0.0), (1, 2, 1.0)]
)
def test_impossible_counts_are_refused(counts: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match=r"impossible|got no request"):
        Stratum(*counts)
