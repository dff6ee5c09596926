"""The interval of a difference: how often it ever misses, how wide it is, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.difference import Arms, _bets, interval, log_wealth

ALPHA = 0.05
RUNS = 1000
LOOKS = 60
RNG_SEED = 7


@dataclass(frozen=True)
class Truth:
    """Chances of an event, the candidate's share of the sessions, and how the world behaves."""

    candidate: float
    baseline: float
    share: float = 0.5
    swing: float = 0.0
    """How far both rates move together, up and down, over the looks."""
    late: float = 0.0
    """The chance that a session that will meet its event has not met it by the next look."""
    real_share: float | None = None
    """The share that sessions are really drawn with; None: the configured one."""


def ever_missed(truth: Truth, *, per_look: int = 200, seed: int = RNG_SEED) -> float:
    """The part of simulated experiments whose interval ever leaves the true difference out."""
    random = np.random.default_rng(seed)
    units, events, waiting = (np.zeros((2, RUNS), dtype=np.int64) for _ in range(3))
    missed = np.zeros(RUNS, dtype=np.bool_)
    difference, threshold = truth.candidate - truth.baseline, math.log(2 / ALPHA)
    share = truth.share if truth.real_share is None else truth.real_share
    for look in range(LOOKS):
        swing = truth.swing * math.sin(look / 5)
        candidates = random.binomial(per_look, share, RUNS)
        new = np.stack([candidates, per_look - candidates])
        rates = np.array([[truth.candidate + swing], [truth.baseline + swing]])
        waiting += random.binomial(new, rates)
        met = random.binomial(waiting, 1 - truth.late)
        units, events, waiting = units + new, events + met, waiting - met
        total = units.sum(axis=0)
        part = units[0] / total
        low = log_wealth(*events, total, truth.share, part, difference)
        high = log_wealth(*events[::-1], total, 1 - truth.share, 1 - part, -difference)
        missed |= (low >= threshold) | (high >= threshold)
    return float(missed.mean())


@pytest.mark.parametrize(
    "truth",
    [
        Truth(0.01, 0.01),
        Truth(0.05, 0.02, share=0.2),
        Truth(0.5, 0.4, share=0.1),
        Truth(0.06, 0.05, swing=0.04),
        Truth(0.08, 0.05, late=0.8),
        Truth(0.04, 0.04, late=0.8),
        Truth(0.05, 0.05, share=0.5, real_share=0.52),
    ],
)
def test_it_misses_the_difference_at_any_look_no_more_often_than_stated(truth: Truth) -> None:
    assert ever_missed(truth) <= ALPHA


def test_an_interval_for_one_look_misses_far_more_often_when_it_is_looked_at_each_time() -> None:
    """The simulation can tell: Wald's interval at 95 %, on the same kind of data."""
    random = np.random.default_rng(RNG_SEED)
    events = random.binomial(100, 0.05, (2, LOOKS, RUNS)).cumsum(axis=1)
    units = 100 * np.arange(1, LOOKS + 1)[:, None]
    rates = events / units
    half = 1.96 * np.sqrt((rates * (1 - rates) / units).sum(axis=0))
    missed = (np.abs(rates[0] - rates[1]) > half)[10:].any(axis=0)
    assert missed.mean() > 3 * ALPHA


@pytest.mark.parametrize(
    ("units", "rate", "share", "most"),
    [(10_000, 0.01, 0.5, 2.0), (100_000, 0.05, 0.5, 1.9), (100_000, 0.05, 0.1, 1.9)],
)
def test_it_is_less_than_twice_as_wide_as_one_for_a_single_look(
    units: int, rate: float, share: float, most: float
) -> None:
    candidate = int(units * share)
    baseline = units - candidate
    arms = Arms(candidate, int(candidate * rate), baseline, int(baseline * rate), share)
    found = interval(arms, alpha=ALPHA)
    single = 2 * 1.96 * math.sqrt(rate * (1 - rate) * (1 / candidate + 1 / baseline))
    assert 1 < (found.high - found.low) / single < most


def test_it_agrees_with_bets_made_one_session_after_the_other() -> None:
    """The definition by Waudby-Smith & Ramdas, session by session, for each bet of the mixture."""
    random = np.random.default_rng(3)
    share, at = 0.3, 0.01
    mine = random.random(400) < share
    met = random.random(400) < 0.1
    values = np.where(mine, met / share, -(met / (1 - share)))
    bets, weights = _bets(share)
    wealth = np.ones(len(bets))
    for value in values:
        wealth *= 1 + bets * (value - at)
    counts = int((mine & met).sum()), int((~mine & met).sum()), len(mine)
    got = float(log_wealth(*counts, share, share, at))
    assert got == pytest.approx(math.log(wealth @ np.asarray(weights)), abs=1e-9)


def test_it_is_as_wide_as_the_published_method_on_the_same_sessions() -> None:
    """`betting_cs` of confseq 0.0.11, its authors' code, gave the bounds below to three digits.

    It needs a compiler and NumPy 1 to install, so it is not run here.
    """
    random = np.random.default_rng(3)
    mine = random.random(2000) < 0.5
    met = np.where(mine, random.random(2000) < 0.05, random.random(2000) < 0.05)
    counts = [int(count) for side in (mine, ~mine) for count in (side.sum(), (met & side).sum())]
    found = interval(Arms(*counts, 0.5), alpha=ALPHA)
    low, high = -0.038, 0.042
    assert 0.9 < (found.high - found.low) / (high - low) < 1.1
    assert found.low < low + 0.02
    assert found.high > high - 0.02


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.integers(0, 500),
    st.floats(0.05, 0.95),
)  # fmt: skip
def test_changing_the_arms_changes_the_sign(a: int, b: int, c: int, d: int, share: float) -> None:
    found = interval(Arms(a + b, a, c + d, c, share), alpha=ALPHA)
    other = interval(Arms(c + d, c, a + b, a, 1 - share), alpha=ALPHA)
    assert found.low == pytest.approx(-other.high, abs=1e-6)
    assert found.high == pytest.approx(-other.low, abs=1e-6)
    assert -1 <= found.low <= found.high <= 1


def test_nothing_seen_says_nothing() -> None:
    found = interval(Arms(0, 0, 0, 0, 0.5), alpha=ALPHA)
    assert (found.low, found.high, found.difference, found.differs) == (-1, 1, None, False)


def test_a_split_that_is_not_the_configured_one_makes_it_wider_and_not_wrong() -> None:
    right = interval(Arms(5000, 1500, 5000, 1500, 0.5), alpha=ALPHA)
    wrong = interval(Arms(6000, 1800, 4000, 1200, 0.5), alpha=ALPHA)
    assert wrong.low < 0 < wrong.high
    assert wrong.high - wrong.low > right.high - right.low


def test_requests_that_fail_together_make_it_wider() -> None:
    arms = Arms(5000, 100, 5000, 100, 0.5)
    alone, together = (interval(arms, alpha=ALPHA, units_together=s) for s in (1, 5))
    assert together.high - together.low > 1.8 * (alone.high - alone.low)


@pytest.mark.parametrize("counts", [(5, 6, 5, 0), (5, -1, 5, 0), (5, 0, 5, 6)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="impossible"):
        Arms(*counts, 0.5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_that_compares_nothing_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="nothing is compared"):
        Arms(5, 0, 5, 0, share)
