"""What a report says a set could have shown, against sets that were drawn and judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.gate_power import Design as Simulated
from benchmarks.gate_power import shares
from validation.estimate import Estimate, Method, estimate_rate
from validation.power import Design, Power, power_of

WORDS = np.full(448, 6.0)
SPEAKERS = np.repeat(np.arange(32), 14)


def estimate(seed: int = 1) -> Estimate:
    random = np.random.default_rng(seed)
    change = random.binomial(6, 0.05, 448) - random.binomial(6, 0.05, 448)
    return estimate_rate(change.astype(float), WORDS, SPEAKERS, method=Method())


def power(margin: float, truth: float = 0.0) -> Power:
    design = Design(estimate(), truth, margin, clusters=32, utterances=448)
    return power_of(design, 0.8, clusters=2, utterances=2)


@pytest.mark.parametrize("margin", [0.010, 0.013, 0.016, 0.022])
def test_stated_chance_to_pass_is_the_share_that_passes(margin: float) -> None:
    """The stated chance differs between sets as their spread does; its median is compared."""
    found = shares(Simulated(changed=0.6, margin=margin), sets=120, seed=5)
    assert found["power_stated"] == pytest.approx(1 - found["false_refusal"], abs=0.13)


def test_sets_of_the_stated_size_pass_as_often_as_was_asked() -> None:
    """From 50 speakers; from 24, whose spread is less well known, it says some too few."""
    small = Simulated(speakers=50, changed=0.6, margin=0.0065)
    needed = power_needed(small)
    assert needed > 60
    found = shares(replace(small, speakers=needed), sets=150, seed=7)
    assert 1 - found["false_refusal"] == pytest.approx(0.8, abs=0.12)


def power_needed(design: Simulated) -> int:
    """Median over some sets of the speakers that they say would do."""
    from benchmarks.gate_power import simulate

    said = [
        check.power.clusters_needed
        for one in simulate(design, sets=40, seed=6)
        for check in one.equal
        if check.power is not None and check.power.clusters_needed is not None
    ]
    return int(np.median(said))


def test_a_regression_of_the_stated_size_is_found_as_often_as_was_asked() -> None:
    """Its interval lies above nothing: the baseline."""
    random = np.random.default_rng(8)
    skill = random.beta(1, 19, 32)
    stated, found = [], []
    for regression in (0.0, 0.018):
        for _ in range(200):
            theirs = random.binomial(6, np.repeat(skill, 14))
            ours = random.binomial(6, np.repeat(skill, 14)) + random.binomial(6, regression, 448)
            one = estimate_rate((ours - theirs).astype(float), WORDS, SPEAKERS, method=Method())
            if regression:
                found.append(one.low > 0)
            else:
                stated.append(Design(one, 0.0, 0.01, 32, 448).detects(0.8))
    assert np.median(stated) == pytest.approx(0.018, rel=0.1)
    assert np.mean(found) == pytest.approx(0.8, abs=0.1)


def test_larger_margins_are_easier_and_need_less() -> None:
    found = [power(margin) for margin in (0.005, 0.01, 0.02)]
    chances = [one.passes_if_equal or 0.0 for one in found]
    needed = [one.clusters_needed or 0 for one in found]
    assert chances == sorted(chances)
    assert needed == sorted(needed, reverse=True)
    assert all(one.detects == found[0].detects for one in found)


def test_half_the_margin_needs_about_four_times_the_data() -> None:
    wide, narrow = power(0.008).clusters_needed, power(0.004).clusters_needed
    assert wide is not None
    assert narrow is not None
    assert narrow == pytest.approx(4 * wide, rel=0.15)


def test_what_is_beyond_the_limit_in_truth_no_amount_shows() -> None:
    found = power(0.01, truth=0.01)
    assert (found.clusters_needed, found.utterances_needed) == (None, None)
    assert found.passes_if_equal == pytest.approx(0.025, abs=0.02)


def test_identical_answers_still_hide_a_rare_fault() -> None:
    same = estimate_rate(np.zeros(448), WORDS, SPEAKERS, method=Method(), fault_cost=1.0)
    design = Design(same, 0.0, 0.01, clusters=32, utterances=448)
    found = power_of(design, 0.8, clusters=2, utterances=2)
    # Of 448 utterances at least one is faulty with 80 % when 0.36 % of all are; one of six words.
    assert found.detects == pytest.approx((1 - 0.2 ** (1 / 448)) / 6)
    assert found.passes_if_equal == 1


def test_least_amounts_of_the_policy_are_kept() -> None:
    design = Design(estimate(), 0.0, 0.5, clusters=32, utterances=448)
    found = power_of(design, 0.8, clusters=20, utterances=100)
    assert (found.clusters_needed, found.utterances_needed) == (20, 100)
