"""The check that traffic is split as the route says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from canary.blocks import Block
from canary.metrics import Evidence
from canary.plan import RolloutPlan
from canary.ports import ArmCounters
from canary.split import SPLIT_ALPHA, TOLERANCE, SplitCheck, split_bets


def looked_at(real: float, configured: float, *, looks: int, new: int, seed: int) -> int | None:
    """The sessions until a mismatch is found, None when it is not."""
    random = np.random.default_rng(seed)
    check = SplitCheck()
    for _ in range(looks):
        candidate = int(random.binomial(new, real))
        check = check.after(candidate, new - candidate, configured)
        if check.mismatch(1):
            return check.candidate + check.baseline
    return None


@pytest.mark.parametrize("configured", [0.01, 0.05, 0.5])
def test_a_right_split_is_not_doubted(configured: float) -> None:
    found = [looked_at(configured, configured, looks=60, new=200, seed=s) for s in range(40)]
    assert found == [None] * 40


def test_alpha_holds_at_the_end_of_the_tolerance() -> None:
    """Many runs at once, looked at 300 times: the wealth of bets against the interval's own end."""
    configured, runs, new, alpha = 0.1, 4000, 50, 0.05
    odds = configured / (1 - configured) * (1 + TOLERANCE)
    share, bets = odds / (1 + odds), split_bets()
    random = np.random.default_rng(1)
    wealth, most = np.zeros((runs, len(bets.weights))), np.full(runs, -math.inf)
    for _ in range(300):
        wealth += bets.log_payoffs(random.binomial(new, share, runs), new, share)
        highest = wealth.max(axis=1)
        mixture = highest + np.log(np.exp(wealth - highest[:, None]) @ np.asarray(bets.weights))
        most = np.maximum(most, mixture)
    false = float((most >= -math.log(alpha)).mean())
    assert false <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / runs)


@pytest.mark.parametrize(
    ("real", "configured", "within"), [(0.25, 0.1, 400), (0.02, 0.1, 800), (0.5, 0.1, 100)]
)
def test_a_wrong_split_is_found_soon(real: float, configured: float, within: int) -> None:
    found = [looked_at(real, configured, looks=400, new=20, seed=s) for s in range(20)]
    assert all(sessions is not None and sessions <= within for sessions in found), found


def test_a_small_difference_is_tolerated() -> None:
    assert looked_at(0.103, 0.1, looks=300, new=200, seed=1) is None


def test_another_weight_begins_anew() -> None:
    check = SplitCheck().after(40, 60, 0.1)
    assert check.mismatch(1)
    check = check.after(25, 75, 0.25)
    assert not check.mismatch(1)
    assert (check.candidate, check.baseline) == (25, 75)


@pytest.mark.parametrize("configured", [0.0, 1.0])
def test_nothing_is_tested_where_nothing_is_split(configured: float) -> None:
    assert SplitCheck().after(5, 5, configured) == SplitCheck()


def test_evidence_says_so_with_the_figures() -> None:
    plan = RolloutPlan()
    arms = ArmCounters(400, sessions=50), ArmCounters(600, sessions=50)
    evidence = Evidence.none(plan).after(Block(*arms), configured=0.05)
    assert evidence.split_mismatch == (
        "50 of 100 new sessions came to the candidate (50.0%), the route says 5%"
    )
    assert evidence.to_json()["split"]["acts_at"] == pytest.approx(
        -math.log(SPLIT_ALPHA / len(plan.steps)), abs=1e-6
    )
    assert not Evidence.none(plan).after(Block(*arms)).split_mismatch


def test_many_requests_of_one_session_are_no_mismatch() -> None:
    arms = ArmCounters(5000, sessions=6), ArmCounters(700, sessions=94)
    assert not Evidence.none(RolloutPlan()).after(Block(*arms), configured=0.05).split_mismatch
