"""Flagger's canary analysis.

Read: fluxcd/flagger `docs/gitbook/usage/deployment-strategies.md` (interval, threshold, maxWeight,
stepWeight), fluxcd.io/flagger/usage/metrics (request-success-rate and request-duration), and
`pkg/controller/scheduler.go` and `scheduler_metrics.go` (`advanceCanary`, `runCanary`,
`runBuiltinMetricChecks`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.canary_field.traces import ERRORS, OVER_500_MS, REQUESTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.canary_field.serving import Weights
    from benchmarks.canary_field.traces import Counts


@dataclass
class Flagger:
    """The settings of Flagger's tutorials; an interval is one minute.

    At each interval: with `threshold` failed checks the canary is rolled back, so one interval
    after the last of them. Otherwise the checks run over the last minute: a success rate below
    `least_success` percent, a 99th percentile of the duration above 500 ms, or no traffic at all
    fails. A failed check counts, passed ones do not take it back, and halts the advancement. A
    passed one adds `step_weight`, and at `max_weight` promotes.
    """

    least_success: float = 99.0
    threshold: int = 5
    step_weight: int = 10
    max_weight: int = 50
    _failed: NDArray[np.int64] = field(init=False, repr=False)
    _weights: Weights = field(init=False, repr=False)

    def start(self, runs: int) -> Weights:
        """The first step's weight, for each run."""
        self._failed = np.zeros(runs, dtype=np.int64)
        self._weights = np.full(runs, self.step_weight)
        return self._weights

    def look(self, minute: int, candidate: Counts, baseline: Counts) -> Weights:
        """One interval of all runs; the baseline is never looked at."""
        del minute, baseline
        under_way = (self._weights > 0) & (self._weights < 100)
        turned_back = under_way & (self._failed >= self.threshold)
        passes = self.passes(candidate[-1])
        self._failed += under_way & ~turned_back & ~passes
        advances = under_way & ~turned_back & passes
        promotes = advances & (self._weights >= self.max_weight)
        grown = np.minimum(self._weights + self.step_weight, self.max_weight)
        weights = np.where(advances, grown, self._weights)
        weights = np.where(promotes, 100, weights)
        self._weights = np.where(turned_back, 0, weights)
        return self._weights

    def passes(self, last_minute: Counts) -> NDArray[np.bool_]:
        """Whether both checks pass, from the candidate's counts (kinds, runs) of one interval.

        The 99th percentile lies above a bound of the histogram's buckets when more than 1 % of
        the answers took longer.
        """
        requests = last_minute[REQUESTS]
        good = requests - last_minute[ERRORS]
        success = 100 * good >= self.least_success * requests
        quick = last_minute[OVER_500_MS] <= 0.01 * requests
        return np.asarray((requests > 0) & success & quick)
