"""How often a canary is turned back falsely, and how soon a worse one is found.

    python -m benchmarks.canary_power --seed 1

The last line of the output is one JSON object. Everything is simulated with the tests and the
block rule that rollouts use (`canary.evidence`, `canary.blocks`), vectorised over runs.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from canary.blocks import BLOCK_GROWTH, MIN_BLOCK_REQUESTS
from canary.evidence import harm_bets, log_mixture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Design:
    """One simulated canary: rates of events, traffic, and how the tests count it."""

    alpha: float = 0.01
    baseline_rate: float = 0.01
    candidate_rate: float = 0.01
    shares: tuple[float, ...] = (0.1,)
    """The candidate's real part of the traffic, changing in equal parts of the looks."""
    assumed_share: float | None = None
    """A share to use instead of the measured one; None measures, as rollouts do."""
    requests_per_look: int = 150
    looks: int = 1000
    session_size: int = 1
    """Requests that fail together; all of a session's requests fall into one look."""
    requests_per_session: int = 1
    """What the plan says about that."""
    growing_blocks: bool = True
    """As in a rollout with much traffic; without it every least block is looked at, as in one
    whose blocks are ended by the clock."""
    drift: float = 0.0
    """Swing of both rates over time, as a part of them: a slow sine."""


@dataclass(frozen=True)
class Simulated:
    """One value for each run."""

    found: NDArray[np.bool_]
    candidate_requests: Counts
    """The candidate's requests when it was turned back, or until the end."""


def simulate(design: Design, *, runs: int, seed: int) -> Simulated:
    """Run `runs` canaries and look after each look's requests, whenever a block is complete."""
    random = np.random.default_rng(seed)
    bets = harm_bets()
    log_wealth = np.zeros((runs, len(bets.weights)))
    found = np.zeros(runs, dtype=np.bool_)
    requests = np.zeros(runs, dtype=np.int64)
    seen = np.zeros(runs, dtype=np.int64)
    block = np.zeros((4, runs), dtype=np.int64)
    for look in range(design.looks):
        gained = _traffic(design, look, runs, random)
        block += gained
        requests += np.where(found, 0, gained[0])
        complete = (block[:2].min(axis=0) >= MIN_BLOCK_REQUESTS) & ~found
        if design.growing_blocks:
            complete &= block[0] >= BLOCK_GROWTH * seen
        if complete.any():
            candidate, baseline, bad_candidate, bad_baseline = block[:, complete]
            share = candidate / (candidate + baseline)
            if design.assumed_share is not None:
                share = np.full_like(share, design.assumed_share)
            events = bad_candidate + bad_baseline
            payoffs = bets.log_payoffs(bad_candidate, events, share)
            log_wealth[complete] += payoffs / design.requests_per_session
            seen += np.where(complete, block[0], 0)
            block[:, complete] = 0
            log_e = log_mixture(log_wealth[complete], bets.weights)
            found[complete] = log_e >= -math.log(design.alpha)
        if found.all():
            break
    return Simulated(found, requests)


def _traffic(design: Design, look: int, runs: int, random: np.random.Generator) -> Counts:
    """Requests of candidate and baseline, then their events: an array of 4 by `runs`."""
    share = design.shares[look * len(design.shares) // design.looks]
    swing = 1 + design.drift * math.sin(2 * math.pi * look / 200)
    sessions = design.requests_per_look // design.session_size
    candidate = random.binomial(sessions, share, runs)
    baseline = sessions - candidate
    bad_candidate = random.binomial(candidate, design.candidate_rate * swing)
    bad_baseline = random.binomial(baseline, design.baseline_rate * swing)
    counts = np.stack([candidate, baseline, bad_candidate, bad_baseline])
    return np.asarray(counts * design.session_size)


def false_share(design: Design, *, runs: int, seed: int) -> float:
    """The share of runs turned back, for a design in which the candidate is as good."""
    return float(simulate(design, runs=runs, seed=seed).found.mean())


def median_requests(design: Design, *, runs: int, seed: int) -> float:
    """Median of the candidate's requests until it was turned back; infinite when most never are."""
    simulated = simulate(design, runs=runs, seed=seed)
    needed = np.where(simulated.found, simulated.candidate_requests, np.inf)
    return float(np.median(needed))


def measure(*, runs: int, seed: int) -> dict[str, Any]:
    """All figures, as one JSON value."""
    same = Design(growing_blocks=False)
    worse = replace(
        same, candidate_rate=0.05, requests_per_look=10, looks=4000, growing_blocks=True
    )
    steps = replace(same, shares=(0.05, 0.25, 0.5), drift=0.5)
    sessions = replace(same, session_size=5)
    started = time.perf_counter()
    figures = {
        "alpha": same.alpha,
        "looks": same.looks,
        "runs": runs,
        "false_rollbacks": false_share(same, runs=runs, seed=seed),
        "false_rollbacks_steps_and_drift": false_share(steps, runs=runs, seed=seed + 1),
        "false_rollbacks_configured_10_real_25_percent": false_share(
            replace(same, shares=(0.25,), assumed_share=0.1), runs=runs // 4, seed=seed + 2
        ),
        "false_rollbacks_sessions_of_5_counted_as_requests": false_share(
            sessions, runs=runs, seed=seed + 3
        ),
        "false_rollbacks_sessions_of_5_stated": false_share(
            replace(sessions, requests_per_session=5), runs=runs, seed=seed + 3
        ),
        "median_requests_1_to_5_percent": median_requests(worse, runs=runs, seed=seed + 4),
        "median_requests_1_to_5_percent_half_alpha": median_requests(
            replace(worse, alpha=same.alpha / 2), runs=runs, seed=seed + 5
        ),
        "median_requests_1_to_2_percent": median_requests(
            replace(worse, candidate_rate=0.02, requests_per_look=40), runs=runs // 4, seed=seed + 6
        ),
        "median_requests_1_to_100_percent": median_requests(
            replace(worse, candidate_rate=1.0), runs=runs, seed=seed + 7
        ),
    }
    return {**figures, "seconds": round(time.perf_counter() - started, 1)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=4000)
    given = parser.parse_args(arguments)
    print(json.dumps(measure(runs=given.runs, seed=given.seed)))


if __name__ == "__main__":
    main()
