"""Pairs: how they are counted, bets on them against a reference, and how often they are wrong."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.betting import log_mean, no_worse_bets, share_bets, worse_bets
from canary.pair_evidence import PairEvidence
from canary.pairs import MAX_BLOCK_S, MIN_BLOCK_SESSIONS, PairCounts, count_pairs
from canary.plan import RolloutPlan, Step
from canary.ports import Output, Pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from canary.betting import MeanBets

PLAN = RolloutPlan(steps=(Step(shadow=50), Step(weight=100)), alpha_split={"pairs": 1.0})
GOOD, EMPTY = Output(text_hash="a", length=3), Output(empty=True)


def pair(baseline: Output, candidate: Output, *, session: str = "", at: float = 1.0) -> Pair:
    pair.number += 1  # type: ignore[attr-defined] # each request has its own name
    return Pair(f"r{pair.number}", session, at, baseline, candidate)  # type: ignore[attr-defined]


pair.number = 0  # type: ignore[attr-defined]


def test_the_pairs_of_one_session_are_one_value() -> None:
    pairs = [pair(GOOD, EMPTY, session="s") for _ in range(3)] + [pair(GOOD, GOOD, session="s")]
    counts = count_pairs([*pairs, pair(EMPTY, GOOD), pair(EMPTY, EMPTY)])
    assert (counts.pairs, counts.sessions) == (6, 3)
    assert counts.values["bad"] == ((-1, 1, 1), (0, 1, 1), (3, 4, 1))
    assert counts.values["empty"] == counts.values["bad"]
    assert counts.values["errors"] == ((0, 1, 3),)
    assert counts.outputs["bad"] == (2, 4)


def test_a_session_that_was_counted_is_left_out() -> None:
    pairs = [pair(GOOD, EMPTY, session="s"), pair(GOOD, GOOD)]
    assert count_pairs(pairs, {"s"}).sessions == 1
    assert count_pairs(pairs, {"s", f"request {pairs[1].request}"}) == count_pairs([])


def test_other_texts_and_figures_are_told_where_both_answered() -> None:
    other = replace(GOOD, text_hash="b", log_probability=-0.75, latency_ms=30.0)
    pairs = [
        pair(replace(GOOD, log_probability=-0.5, latency_ms=20.0), other, at=7.0),
        pair(GOOD, GOOD),
        pair(Output(error=True), GOOD),
    ]
    counts = count_pairs(pairs)
    assert counts.disagreement == (1.0, 2)
    assert counts.log_probability_drop == (0.25, 1)
    assert counts.latency_ms == (10.0, 2)
    assert counts.until == 7.0


outputs = st.builds(
    Output,
    empty=st.booleans(),
    looping=st.booleans(),
    fallback=st.booleans(),
    error=st.booleans(),
    text_hash=st.sampled_from("ab"),
    log_probability=st.sampled_from([math.nan, -0.5, -1.25]),
    latency_ms=st.floats(0, 1e4),
)
many = st.lists(
    st.builds(Pair, st.text(), st.sampled_from("xyz"), st.floats(0, 9), outputs, outputs)
)


@given(many)
def test_counts_survive_the_journal_and_keep_no_text(pairs: list[Pair]) -> None:
    counts = count_pairs(pairs)
    assert PairCounts.from_json(json.loads(json.dumps(counts.to_json()))) == counts
    assert sum(count for *_, count in counts.values["bad"]) == counts.sessions


def test_where_a_block_ends_is_decided_by_sessions_and_the_clock() -> None:
    few = PairCounts(pairs=99, sessions=MIN_BLOCK_SESSIONS - 1)
    assert not few.complete(seen=0, seconds=3600)
    enough = PairCounts(pairs=10, sessions=MIN_BLOCK_SESSIONS)
    assert enough.complete(seen=200, seconds=0)
    assert not enough.complete(seen=201, seconds=0)
    assert enough.complete(seen=10_000, seconds=MAX_BLOCK_S)


def brute_force(values: NDArray[np.float64], limit: float, most: float, *, below: bool) -> float:
    """The wealth of a uniform mixture of bets, one fraction and one value after the other."""
    grid = (np.arange(20_000) + 0.5) / 20_000 * most
    wealth = np.ones_like(grid)
    for value in values:
        wealth *= 1 + grid * ((limit - value) if below else (value - limit))
    return float(wealth.mean())


@pytest.mark.parametrize(
    ("bets", "limit", "most", "below"),
    [
        (worse_bets(), 0.0, 1.0, False),
        (no_worse_bets(0.1), 0.1, 1 / 0.9, True),
        (share_bets(0.2), 0.2, 5.0, False),
    ],
    ids=["worse", "no worse", "share"],
)
def test_the_wealth_is_that_of_a_reference(
    bets: MeanBets, limit: float, most: float, *, below: bool
) -> None:
    values = np.random.default_rng(1).choice([0.0, 0.0, 0.0, 0.25, 1.0], size=120)
    if limit < 0.2:
        values *= np.random.default_rng(2).choice([-1, 1], size=120)
    log_wealth = bets.log_payoffs((value, 1) for value in values.tolist())
    ours = log_mean(zip(bets.weights, log_wealth.tolist(), strict=True))
    assert ours == pytest.approx(math.log(brute_force(values, limit, most, below=below)), rel=1e-4)
    at_once = bets.log_payoffs(
        (float(one), int((values == one).sum())) for one in np.unique(values)
    )
    assert at_once == pytest.approx(log_wealth)


def first_found(
    bets: MeanBets, worse: NDArray[np.bool_], better: NDArray[np.bool_], alpha: float
) -> NDArray[np.float64]:
    """After how many pairs each run's wealth is 1/alpha, inf when never; (runs, pairs) in."""
    up, none, down = (bets.log_payoffs([(value, 1)]) for value in (1.0, 0.0, -1.0))
    found = np.full(len(worse), np.inf)
    for run in range(len(worse)):
        steps = np.where(worse[run, :, None], up, np.where(better[run, :, None], down, none))
        log_wealth = np.cumsum(steps, axis=0)
        highest = log_wealth.max(axis=1, keepdims=True)
        log_e = highest[:, 0] + np.log(np.exp(log_wealth - highest) @ np.asarray(bets.weights))
        hits = np.flatnonzero(log_e >= -math.log(alpha))
        found[run] = hits[0] + 1 if len(hits) else np.inf
    return found


def draw(
    baseline: float, candidate: float, runs: int, pairs: int, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where only the candidate's output is bad, and where only the baseline's is."""
    random = np.random.default_rng(seed)
    bad_baseline = random.random((runs, pairs)) < baseline
    bad_candidate = random.random((runs, pairs)) < candidate
    return bad_candidate & ~bad_baseline, bad_baseline & ~bad_candidate


def most_by_chance(runs: int, alpha: float) -> float:
    """Four standard deviations above alpha: a false alarm of the test once in 30,000."""
    return alpha + 4 * math.sqrt(alpha * (1 - alpha) / runs)


def test_twice_the_bad_outputs_are_found_within_951_pairs_in_the_median() -> None:
    found = first_found(worse_bets(), *draw(0.04, 0.08, 300, 4000, seed=1), alpha=0.01)
    assert 500 < np.median(found) <= 951


@pytest.mark.parametrize("rate", [0.04, 0.3])
def test_a_candidate_as_good_is_hardly_ever_turned_back(rate: float) -> None:
    found = first_found(worse_bets(), *draw(rate, rate, 300, 1500, seed=2), alpha=0.01)
    assert np.isfinite(found).mean() <= most_by_chance(300, 0.01)


def test_harm_at_the_margin_is_hardly_ever_ruled_out_and_none_soon_is() -> None:
    bets = no_worse_bets(0.02)
    at_margin = first_found(bets, *draw(0.04, 0.06, 300, 1500, seed=3), alpha=0.01)
    assert np.isfinite(at_margin).mean() <= most_by_chance(300, 0.01)
    none = first_found(bets, *draw(0.0, 0.0, 1, 1500, seed=4), alpha=0.01)
    assert none[0] < 600


def block(bad_baseline: int, bad_candidate: int, both_good: int) -> PairCounts:
    pairs = [pair(EMPTY, GOOD)] * bad_baseline + [pair(GOOD, EMPTY)] * bad_candidate
    pairs += [pair(GOOD, GOOD)] * both_good
    return count_pairs(replace(one, request=str(number)) for number, one in enumerate(pairs))


def test_all_signals_together_keep_alpha() -> None:
    random, runs, false = np.random.default_rng(5), 100, 0
    for _ in range(runs):
        evidence = PairEvidence.none(PLAN)
        for _ in range(25):
            better, worse, same = random.multinomial(40, [0.1, 0.1, 0.8])
            evidence = evidence.after(block(int(better), int(worse), int(same)), 0.0)
            if evidence.harmful:
                false += 1
                break
    assert false / runs <= most_by_chance(runs, PLAN.alpha)


def test_harm_is_named_by_the_signal_that_shows_it() -> None:
    evidence = PairEvidence.none(PLAN).after(block(2, 40, 100), 3.0)
    assert evidence.harmful == (
        "more bad outputs than the baseline on the same inputs (40 against 2 of 142 pairs)"
    )
    assert (evidence.in_doubt, evidence.harmless, evidence.at) == (True, False, 3.0)
    told = evidence.to_json()
    assert told["outputs"]["empty"] == [2, 40]
    assert told["tests"]["pairs"]["log_e"] > told["tests"]["pairs"]["acts_at"]


def test_the_same_answers_rule_harm_out() -> None:
    evidence = PairEvidence.none(PLAN).after(block(0, 0, 700), 1.0)
    assert (evidence.harmful, evidence.in_doubt, evidence.harmless) == ("", False, True)
    assert not PairEvidence.none(PLAN).harmless


def test_other_texts_are_harm_only_beyond_a_margin_of_the_plan() -> None:
    other = replace(GOOD, text_hash="b")
    counts = count_pairs(pair(GOOD, other if number % 2 else GOOD) for number in range(400))
    assert PairEvidence.none(PLAN).after(counts, 1.0).harmful == ""
    strict = PLAN.model_copy(update={"disagreement_margin": 0.1})
    evidence = PairEvidence.none(strict).after(counts, 1.0)
    assert evidence.harmful == (
        "another text than the baseline's in 50.0% of 400 sessions (margin 10.0%)"
    )
    lax = PLAN.model_copy(update={"disagreement_margin": 0.6})
    assert PairEvidence.none(lax).after(counts, 1.0).harmful == ""


def test_pairs_decide_nothing_where_the_plan_has_no_part_for_them() -> None:
    plan = RolloutPlan()
    evidence = PairEvidence.none(plan).after(block(0, 100, 0), 1.0)
    assert (evidence.harmful, evidence.in_doubt, evidence.harmless) == ("", False, False)
