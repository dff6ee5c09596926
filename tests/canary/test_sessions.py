"""Sessions as units: what counting requests does to them, and what counting sessions keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from canary.blocks import Block
from canary.evidence import harm_bets, log_mixture
from canary.metrics import Evidence
from canary.plan import RolloutPlan
from canary.ports import ArmCounters

CANDIDATE, BASELINE = 0, 1
ALPHA = 0.01
RUNS = 600
MOST_FALSE = ALPHA + 4 * math.sqrt(ALPHA * (1 - ALPHA) / RUNS)
"""Four standard deviations above alpha: a false alarm of the test once in 30,000."""


@dataclass(frozen=True)
class Sessions:
    """Traffic of sessions. Each lives on, with one request a look, with the chance 1 - 1/length."""

    new_per_look: int = 60
    length: float = 8.0
    bad: tuple[float, float] = (0.02, 0.02)
    """Share of sessions, candidate's and baseline's, whose requests fail, each with `fails`."""
    fails: float = 0.8
    shares: tuple[float, ...] = (0.1,)
    """The candidate's part of the sessions, in equal parts of the looks, each an epoch."""
    looks: int = 400


@dataclass(frozen=True)
class Found:
    """For each run: whether it was turned back, and the candidate's requests until then."""

    by_sessions: np.ndarray
    by_requests: np.ndarray
    requests: np.ndarray


def run(design: Sessions, *, runs: int, seed: int) -> Found:
    """The candidate is judged after each look, by sessions as `Evidence` does and by requests."""
    random = np.random.default_rng(seed)
    bets = harm_bets()
    wealth = np.zeros((2, runs, len(bets.weights)))
    found = np.zeros((2, runs), dtype=bool)
    requests_until = np.zeros(runs)
    # By arm: well, bad and not yet failed in this comparison, bad and failed.
    alive = np.zeros((2, 3, runs), dtype=np.int64)
    sessions, failed = np.zeros((2, 2, runs), dtype=np.int64)
    bad = np.array(design.bad)[:, None]
    share = design.shares[0]
    for look in range(design.looks):
        following = design.shares[look * len(design.shares) // design.looks]
        if following != share:
            moved = random.binomial(alive[BASELINE], (following - share) / (1 - share))
            alive += np.stack([moved, -moved])
            share = following
            # Whoever failed is left out of the epoch.
            sessions, failed = alive[:, :2].sum(axis=1), np.zeros((2, runs), dtype=np.int64)
        of_candidate = random.binomial(design.new_per_look, share, runs)
        new = np.stack([of_candidate, design.new_per_look - of_candidate])
        new_bad = random.binomial(new, bad)
        alive[:, 0] += new - new_bad
        alive[:, 1] += new_bad
        at_risk = sessions + new - failed
        sessions = sessions + new
        first = random.binomial(alive[:, 1], design.fails)
        errors = first + random.binomial(alive[:, 2], design.fails)
        failed = failed + first
        requests = alive.sum(axis=1)
        alive[:, 1] -= first
        alive[:, 2] += first
        for unit, (events, units) in enumerate(((first, at_risk), (errors, requests))):
            part = units[CANDIDATE] / np.maximum(units.sum(axis=0), 1)
            if unit == 0:
                part = np.maximum(part, share)
            wealth[unit] += bets.log_payoffs(events[CANDIDATE], events.sum(axis=0), part)
        requests_until += np.where(found[0], 0, requests[CANDIDATE])
        for unit in (0, 1):
            found[unit] |= log_mixture(wealth[unit], bets.weights) >= -math.log(ALPHA)
        alive -= random.binomial(alive, 1 / design.length)
    return Found(found[0], found[1], requests_until)


def median(found: Found) -> float:
    return float(np.median(np.where(found.by_sessions, found.requests, np.inf)))


def test_counting_requests_turns_good_candidates_back_and_counting_sessions_does_not() -> None:
    found = run(Sessions(), runs=RUNS, seed=1)
    assert found.by_requests.mean() > 0.03
    assert found.by_sessions.mean() <= MOST_FALSE


@pytest.mark.parametrize(
    "design",
    [
        Sessions(length=50),
        Sessions(shares=(0.05, 0.25, 0.5), length=20),
        Sessions(bad=(0.3, 0.3), length=1, shares=(0.05,)),
        Sessions(bad=(0.3, 0.3), fails=0.1, length=20, shares=(0.05, 0.25, 0.5)),
        Sessions(bad=(0.9, 0.9), fails=0.5, new_per_look=200, shares=(0.05, 0.25)),
    ],
    ids=["long", "steps", "often", "often-late-steps", "nearly-all"],
)
def test_alpha_holds_for_sessions_of_every_kind(design: Sessions) -> None:
    assert run(design, runs=RUNS, seed=2).by_sessions.mean() <= MOST_FALSE


def test_sessions_of_one_request_are_found_out_as_fast_as_requests() -> None:
    worse = Sessions(new_per_look=100, length=1, bad=(0.05, 0.01), fails=1.0, looks=1000)
    assert 100 < median(run(worse, runs=300, seed=3)) <= 210


def test_a_worse_candidate_is_found_by_its_sessions() -> None:
    worse = replace(Sessions(), bad=(0.10, 0.02), looks=1000)
    found = run(worse, runs=200, seed=4)
    assert found.by_sessions.all()
    # As many sessions as it takes requests of sessions of one, and so `length` times the requests.
    assert median(found) <= 8 * 150


def arm(requests: int, sessions: int, failed: int, slow: int = 0) -> ArmCounters:
    return ArmCounters(
        requests,
        errors=failed * 3,
        sessions=sessions,
        sessions_failed=failed,
        sessions_slow=slow,
    )


def test_those_at_risk_are_seen_until_now_and_had_not_failed_before() -> None:
    block = Block(arm(40, 10, 2), arm(400, 80, 5), arm(100, 30, 6), arm(900, 300, 20))
    assert block.tells_sessions
    assert (block.errors.events_candidate, block.errors.events_total) == (2, 7)
    assert block.errors.share == pytest.approx((30 - 6 + 10) / (30 - 6 + 10 + 300 - 20 + 80))


def test_one_session_that_fails_a_hundred_times_is_one_failure() -> None:
    plan = RolloutPlan()
    block = Block(
        ArmCounters(110, errors=100, sessions=11, sessions_failed=1),
        ArmCounters(990, errors=0, sessions=99),
    )
    by_requests = Block(ArmCounters(110, errors=100), ArmCounters(990))
    assert Evidence.none(plan).after(by_requests).harmful
    assert not Evidence.none(plan).after(block).errors.harm.reaches(plan.alpha_of("errors"))


def test_what_programs_tell_is_counted_by_session_too() -> None:
    block = Block(
        ArmCounters(110, empty=100, fallbacks=60, sessions=11, sessions_empty=1),
        ArmCounters(990, sessions=99, sessions_fallback=2),
    )
    assert (block.empty.events_candidate, block.empty.events_total) == (1, 1)
    assert (block.fallbacks.events_candidate, block.fallbacks.events_total) == (0, 2)
    assert block.empty.share == pytest.approx(0.1)
    plan = RolloutPlan()
    by_requests = Block(ArmCounters(110, empty=100), ArmCounters(990))
    assert "empty answers" in Evidence.none(plan).after(by_requests).harmful
    assert not Evidence.none(plan).after(block).harmful
    mute = Block(arm(400, 100, 0), arm(4000, 1000, 0))
    mute = replace(mute, candidate=replace(mute.candidate, sessions_empty=40))
    assert "(40 of 100 sessions against 0 of 1000)" in Evidence.none(plan).after(mute).harmful


def test_told_sessions_need_no_stated_size() -> None:
    block = Block(arm(40, 20, 8), arm(400, 200, 4))
    plans = (RolloutPlan(), RolloutPlan(requests_per_session=20))
    one, other = (Evidence.none(plan).after(block).errors for plan in plans)
    assert one == other
    assert one.harm.log_e > 1


def test_the_reason_names_sessions() -> None:
    block = Block(arm(400, 100, 40), arm(4000, 1000, 10))
    assert (
        "40 of 100 sessions against 10 of 1000" in Evidence.none(RolloutPlan()).after(block).harmful
    )
