"""Our rule on a trace: `canary.decide`'s conditions with `canary.evidence`'s bets, for all runs.

The bets, the plan and the block rule are the core's own; what is written again here is only their
order, over arrays of runs. `tests/canary/test_field_traffic.py` holds it against the core, run by
run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.canary_field.serving import Outcome, bound_of, split
from benchmarks.canary_field.traces import (
    BOUNDS,
    ERRORS,
    EXTRA_ERRORS,
    OVER_1000_MS,
    REQUESTS,
)
from canary.blocks import BLOCK_GROWTH, MAX_BLOCK_S, MIN_BLOCK_REQUESTS
from canary.evidence import harm_bets, log_mixture, no_harm_bets, sick_bets
from canary.plan import RolloutPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.canary_field.traces import Counts, Floats, Trace

HARM_ERRORS, HARM_SLOW, SAFE_ERRORS, SAFE_SLOW, SICK_CANDIDATE, SICK_BASELINE = range(6)
HARMS = (HARM_ERRORS, HARM_SLOW, SICK_CANDIDATE)
"""Tests that say something against a candidate."""


@dataclass(frozen=True)
class Sluice:
    """A rollout under `plan`. With `by_sessions` a trace's sessions are the units that count.

    Pauses are left out: a plan's `no_traffic_s` is taken to be longer than a block lasts.
    """

    plan: RolloutPlan = field(default_factory=RolloutPlan)
    by_sessions: bool = False

    def roll_out(self, trace: Trace) -> Outcome:
        """The outcome of all runs."""
        judged = trace.units if self.by_sessions else trace.counts
        if judged is None:
            raise ValueError("this trace has no sessions")
        fleet = Fleet(self.plan, trace.runs)
        requests = np.zeros(trace.runs, dtype=np.int64)
        harmed = np.zeros(trace.runs, dtype=np.int64)
        for tick, end in enumerate(trace.ends):
            arms = split(trace.counts[tick], fleet.bound)
            requests += arms[0][REQUESTS]
            harmed += arms[0][EXTRA_ERRORS]
            if self.by_sessions:
                arms = split(judged[tick], fleet.bound)
            fleet.look(float(end), *arms)
            if fleet.over():
                rest = trace.counts[tick + 1 :].sum(axis=0, dtype=np.int32)
                harmed += split(rest, fleet.bound)[0][EXTRA_ERRORS]
                break
        return Outcome(fleet.seconds, requests, harmed)


class Fleet:
    """The state of all runs: where each rollout is, and what its evidence adds up to."""

    def __init__(self, plan: RolloutPlan, runs: int) -> None:
        self.plan = plan
        self.seconds = np.full(runs, np.inf)
        """When each run was turned back."""
        self.step = np.zeros(runs, dtype=np.int64)
        self.log_e = np.zeros((6, runs))
        self._halted = np.zeros(runs, dtype=np.bool_)
        self._held_from = np.zeros(runs)
        self._step_requests = np.zeros(runs, dtype=np.int64)
        self._seen = np.zeros(runs, dtype=np.int64)
        self._opened = np.zeros(runs)
        self._block = np.zeros((2, 5, runs), dtype=np.int64)
        self._log_wealth = np.zeros((6, runs, len(harm_bets().weights)))
        self._bounds = bound_of(np.asarray([step.weight for step in plan.steps]))
        self._hold = np.asarray([step.hold_s for step in plan.steps])
        least = [max(step.min_requests, MIN_BLOCK_REQUESTS) for step in plan.steps]
        self._least = np.asarray(least)
        errors, slow, sick = (plan.alpha_of(name) for name in ("errors", "slow", "sick"))
        alphas = (errors, slow, plan.alpha, plan.alpha, sick, sick)
        acts_at = [-math.log(alpha) if alpha else math.inf for alpha in alphas]
        self._acts_at = np.asarray(acts_at)[:, None]
        compared = (harm_bets(), harm_bets(), no_harm_bets(plan.margin), no_harm_bets(plan.margin))
        alone = (sick_bets(plan.sick_share), sick_bets(plan.sick_share))
        self._weights = tuple(bets.weights for bets in (*compared, *alone))
        self.bound = np.full(runs, self._bounds[0])
        """Where each run's weight stands in `BOUNDS`; 0 after a rollback."""

    def over(self) -> bool:
        """Whether no run can change any more."""
        return not self._active.any()

    def look(self, now: float, candidate: Counts, baseline: Counts) -> None:
        """One observation, and what it decides; counts have the shape (kinds, runs)."""
        promoted = self.step == len(self._bounds) - 1
        settled = promoted & (now >= self._held_from + self.plan.bake_s)
        self._active = (self.bound > 0) & ~self._halted & ~settled
        self._block[0] += candidate
        self._block[1] += baseline
        requests = self._block[:, REQUESTS]
        complete = self._active & (requests[0] >= MIN_BLOCK_REQUESTS)
        complete &= (requests[1] >= MIN_BLOCK_REQUESTS) | promoted
        grown = requests[0] >= BLOCK_GROWTH * self._seen
        complete &= grown | (now - self._opened >= MAX_BLOCK_S)
        held = self._active & ~promoted & (now - self._held_from >= self._hold[self.step])
        if complete.any():
            self._count(np.flatnonzero(complete), now)
        if complete.any() or held.any():
            self._decide(now, held, promoted)

    def _decide(self, now: float, held: NDArray[np.bool_], promoted: NDArray[np.bool_]) -> None:
        """Halt, roll back or advance, in the order of `canary.decide`."""
        acts = self.log_e >= self._acts_at
        sick_baseline = self._active & ~promoted & acts[SICK_BASELINE]
        self._halted |= sick_baseline
        harmful = acts[HARM_ERRORS] | acts[HARM_SLOW] | (promoted & acts[SICK_CANDIDATE])
        harmful &= self._active & ~sick_baseline
        self.seconds[harmful] = now
        self.bound[harmful] = 0
        doubt = (self.log_e >= self._acts_at / 2)[list(HARMS)].any(axis=0)
        answers = self._step_requests + self._block[0, REQUESTS]
        safe = acts[SAFE_ERRORS] & acts[SAFE_SLOW] & (answers >= MIN_BLOCK_REQUESTS)
        enough = safe | (answers >= self._least[self.step])
        moves = np.flatnonzero(held & ~harmful & ~sick_baseline & ~doubt & enough)
        self._count(moves, now)
        self.step[moves] += 1
        self.bound[moves] = self._bounds[self.step[moves]]
        self._step_requests[moves] = 0
        self._held_from[moves] = now

    def _count(self, rows: NDArray[np.int64], now: float) -> None:
        """Feed the open blocks of `rows` to the tests, and open new ones."""
        if not len(rows):
            return
        candidate, baseline = self._block[:, :, rows]
        # A candidate that gets all the traffic is compared with nothing: every payoff but that
        # of its own sickness is exactly 1.
        both = self.bound[rows] < len(BOUNDS) - 1
        if both.any():
            self._feed(rows[both], self._payoffs(candidate[:, both], baseline[:, both]))
        if not both.all():
            self._feed(rows[~both], self._payoffs_alone(candidate[:, ~both]))
        self._seen[rows] += candidate[REQUESTS]
        self._step_requests[rows] += candidate[REQUESTS]
        self._block[:, :, rows] = 0
        self._opened[rows] = now

    def _feed(self, rows: NDArray[np.int64], payoffs: dict[int, Floats]) -> None:
        """Let the tests win or lose what a block of each run pays: (runs, bets) by test."""
        for test, paid in payoffs.items():
            wealth = self._log_wealth[test, rows] + paid / self.plan.requests_per_session
            self._log_wealth[test, rows] = wealth
            self.log_e[test, rows] = log_mixture(wealth, self._weights[test])

    def _payoffs(self, candidate: Counts, baseline: Counts) -> dict[int, Floats]:
        """Log payoffs where both arms answer, from counts (kinds, runs)."""
        total = candidate[REQUESTS] + baseline[REQUESTS]
        share = candidate[REQUESTS] / np.maximum(total, 1)
        harm, safe = harm_bets(), no_harm_bets(self.plan.margin)
        sick = sick_bets(self.plan.sick_share)
        errors, slow = (
            (candidate[kind], candidate[kind] + baseline[kind], share)
            for kind in (ERRORS, OVER_1000_MS)
        )
        return {
            HARM_ERRORS: harm.log_payoffs(*errors),
            HARM_SLOW: harm.log_payoffs(*slow),
            SAFE_ERRORS: safe.log_payoffs(*errors),
            SAFE_SLOW: safe.log_payoffs(*slow),
            SICK_BASELINE: sick.log_payoffs(baseline[ERRORS], baseline[REQUESTS]),
            **self._payoffs_alone(candidate),
        }

    def _payoffs_alone(self, candidate: Counts) -> dict[int, Floats]:
        """Log payoffs where the candidate gets all the traffic."""
        sick = sick_bets(self.plan.sick_share)
        return {SICK_CANDIDATE: sick.log_payoffs(candidate[ERRORS], candidate[REQUESTS])}
