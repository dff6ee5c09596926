"""Measured on simulated traffic: how often a rollback is false, and how soon a true one comes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.canary_power import Design, false_share, main, median_requests, simulate

if TYPE_CHECKING:
    import pytest

RUNS = 600
SAME = Design(growing_blocks=False)


def most_by_chance(runs: int, alpha: float) -> float:
    """Four standard deviations above alpha: a false alarm of the test once in 30,000."""
    return alpha + 4 * math.sqrt(alpha * (1 - alpha) / runs)


def test_a_candidate_as_good_is_hardly_ever_turned_back_over_a_thousand_looks() -> None:
    assert SAME.looks >= 1000
    assert false_share(SAME, runs=RUNS, seed=1) <= most_by_chance(RUNS, SAME.alpha)


def test_neither_when_the_share_grows_by_steps_and_the_rate_drifts() -> None:
    design = replace(SAME, shares=(0.05, 0.25, 0.5), drift=0.8, baseline_rate=0.03)
    design = replace(design, candidate_rate=0.03)
    assert false_share(design, runs=RUNS, seed=2) <= most_by_chance(RUNS, design.alpha)


def test_neither_with_the_growing_blocks_of_much_traffic() -> None:
    design = replace(SAME, growing_blocks=True)
    assert false_share(design, runs=RUNS, seed=9) <= most_by_chance(RUNS, SAME.alpha)


def test_a_worse_candidate_is_found_after_few_of_its_requests() -> None:
    worse = Design(candidate_rate=0.05, requests_per_look=10, looks=2000)
    assert 100 < median_requests(worse, runs=300, seed=3) <= 210


def test_a_candidate_that_always_fails_is_found_with_the_first_block() -> None:
    broken = Design(candidate_rate=1.0, requests_per_look=10, looks=200)
    assert median_requests(broken, runs=200, seed=4) <= 11


def test_the_configured_share_in_place_of_the_measured_one_turns_everything_back() -> None:
    wrong = replace(SAME, shares=(0.25,), assumed_share=0.1)
    assert false_share(wrong, runs=100, seed=5) > 0.95


def test_sessions_must_be_stated_or_alpha_does_not_hold() -> None:
    sessions = replace(SAME, session_size=5)
    assert false_share(sessions, runs=200, seed=6) > 0.1
    stated = replace(sessions, requests_per_session=5)
    assert false_share(stated, runs=RUNS, seed=7) <= most_by_chance(RUNS, SAME.alpha)


def test_the_same_seed_gives_the_same_figures() -> None:
    design = replace(SAME, looks=50)
    once, again = (simulate(design, runs=20, seed=8) for _ in range(2))
    assert (once.candidate_requests == again.candidate_requests).all()


def test_the_benchmark_ends_with_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--seed", "1", "--runs", "4"])
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert set(json.loads(last)) >= {"false_rollbacks", "median_requests_1_to_5_percent"}
