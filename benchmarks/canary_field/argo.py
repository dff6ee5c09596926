"""Argo Rollouts' background analysis.

Read: argoproj/argo-rollouts `docs/features/analysis.md` (background analysis, failureLimit,
inconclusive runs) and `analysis/analysis.go` (`assessMetricStatus`): a run fails when failures
are *more* than `failureLimit`, is inconclusive above `inconclusiveLimit`, errs above
`consecutiveErrorLimit` (4 unless set), and is successful after `count` measurements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.canary_field.traces import ERRORS, REQUESTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.canary_field.serving import Weights
    from benchmarks.canary_field.traces import Counts

SUCCESS, FAILURE, INCONCLUSIVE, ERROR = range(4)


@dataclass
class Argo:
    """The success-rate example of the documentation, with 10 % before its four weights.

    A measurement every `interval` minutes: `successCondition: result >= success_from`, and with
    `failure_below` a `failureCondition: result < failure_below`; what meets neither is
    inconclusive, and a run that is inconclusive pauses the rollout until a person comes. No
    requests give an empty vector, so the measurement errs. The example's `irate` sees only the
    last two scrapes; the whole interval is used here, which is kinder. Analysis starts at once,
    not at the third step.
    """

    success_from: float = 0.95
    failure_below: float | None = None
    failure_limit: int = 3
    inconclusive_limit: int = 0
    consecutive_error_limit: int = 4
    interval: int = 5
    count: int | None = None
    weights: tuple[int, ...] = (10, 20, 40, 60, 80)
    pause: int = 10
    """Minutes at each weight."""
    _tally: NDArray[np.int64] = field(init=False, repr=False)
    _now: Weights = field(init=False, repr=False)
    _paused: NDArray[np.bool_] = field(init=False, repr=False)

    def start(self, runs: int) -> Weights:
        """The first step's weight, for each run."""
        self._tally = np.zeros((4, runs), dtype=np.int64)
        self._now = np.full(runs, self.weights[0])
        self._paused = np.zeros(runs, dtype=np.bool_)
        return self._now

    def look(self, minute: int, candidate: Counts, baseline: Counts) -> Weights:
        """Measure, assess, and step on; the baseline is never looked at."""
        del baseline
        number = minute // self.interval
        due = minute % self.interval == 0 and (self.count is None or number <= self.count)
        if due and minute <= self.pause * len(self.weights):
            window = candidate[-self.interval :].sum(axis=0)
            failed, inconclusive = self.assess(self.measure(window))
            self._now = np.where(failed, 0, self._now)
            self._paused |= inconclusive
        if minute % self.pause == 0:
            step = minute // self.pause
            following = self.weights[step] if step < len(self.weights) else 100
            moves = (self._now > 0) & ~self._paused
            self._now = np.where(moves, following, self._now)
        return self._now

    def measure(self, window: Counts) -> NDArray[np.int64]:
        """The phase of one measurement, from the candidate's counts (kinds, runs)."""
        requests = window[REQUESTS]
        success = 1 - window[ERRORS] / np.maximum(requests, 1)
        phase = np.full(requests.shape, INCONCLUSIVE)
        if self.failure_below is None:
            phase[success < self.success_from] = FAILURE
        else:
            phase[success < self.failure_below] = FAILURE
        phase[success >= self.success_from] = SUCCESS
        phase[requests == 0] = ERROR
        return phase

    def assess(self, phase: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which runs abort, and which are inconclusive, after one more measurement."""
        for kind in (FAILURE, INCONCLUSIVE):
            self._tally[kind] += phase == kind
        self._tally[ERROR] = np.where(phase == ERROR, self._tally[ERROR] + 1, 0)
        failed = self._tally[FAILURE] > self.failure_limit
        failed |= self._tally[ERROR] > self.consecutive_error_limit
        return failed, (self._tally[INCONCLUSIVE] > self.inconclusive_limit) & ~failed
