"""The rule that many write first: twice the baseline's error rate over five minutes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.canary_field.traces import ERRORS, REQUESTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.canary_field.serving import Weights
    from benchmarks.canary_field.traces import Counts


@dataclass
class Naive:
    """Every minute, from the fifth on; ten minutes at each weight.

    Back when the candidate's share of errors over the last five minutes is more than `times` the
    baseline's.
    """

    times: float = 2.0
    window: int = 5
    weights: tuple[int, ...] = (10, 25, 50)
    hold: int = 10
    _now: Weights = field(init=False, repr=False)

    def start(self, runs: int) -> Weights:
        """The first step's weight, for each run."""
        self._now = np.full(runs, self.weights[0])
        return self._now

    def look(self, minute: int, candidate: Counts, baseline: Counts) -> Weights:
        """Compare the last minutes, and step on."""
        shifting = self._now < 100
        if minute >= self.window and shifting.any():
            arms = (arm[-self.window :].sum(axis=0) for arm in (candidate, baseline))
            self._now = np.where(shifting & self.worse(*arms), 0, self._now)
        if minute % self.hold == 0:
            step = minute // self.hold
            following = self.weights[step] if step < len(self.weights) else 100
            self._now = np.where(self._now > 0, following, self._now)
        return self._now

    def worse(self, candidate: Counts, baseline: Counts) -> NDArray[np.bool_]:
        """Whether the candidate's rate is more than `times` the baseline's (kinds, runs)."""
        left = candidate[ERRORS].astype(np.float64) * baseline[REQUESTS]
        return np.asarray(left > self.times * baseline[ERRORS] * candidate[REQUESTS].astype(float))
