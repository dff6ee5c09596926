"""What a rule makes of a trace: the driver of rules that look once a minute.

A weight of 0 is a rollback, after which nothing is served by the candidate, so requests and harm
add up to what happened until then. After a promotion the weight stays at 100, and a fault that
was missed does harm until the trace ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from benchmarks.canary_field.traces import BOUNDS, ERRORS, EXTRA_ERRORS, REQUESTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.canary_field.traces import Counts, Floats, Trace

    Weights = NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """One value for each run.

    `seconds` to the rollback, infinite when there was none; the candidate's `requests` until then;
    `harmed`, its bad answers that the baseline would not have given.
    """

    seconds: Floats
    requests: NDArray[np.int64]
    harmed: NDArray[np.int64]

    @property
    def turned_back(self) -> NDArray[np.bool_]:
        """Which runs were rolled back."""
        return np.isfinite(self.seconds)


class MinuteRule(Protocol):
    """A rule that looks at whole minutes; each call of `start` begins all runs anew."""

    def start(self, runs: int) -> Weights:
        """The first weights, in percent."""
        ...

    def look(self, minute: int, candidate: Counts, baseline: Counts) -> Weights:
        """The weights after `minute` minutes.

        The arms' counts have the shape (minutes so far, kinds, runs), and the candidate's errors
        are all of its bad answers.
        """
        ...


def bound_of(weights: Weights) -> Weights:
    """Where a weight stands in `BOUNDS`; raises ValueError for one that is not there."""
    index = np.searchsorted(BOUNDS, weights)
    if not np.array_equal(np.asarray(BOUNDS)[index], weights):
        raise ValueError(f"weights must be among {BOUNDS}")
    return np.asarray(index)


def split(counts: Counts, index: Weights) -> tuple[Counts, Counts]:
    """Counts (kinds, bounds, runs) of candidate and baseline, each (kinds, runs), at `index`."""
    candidate = counts[:, index, np.arange(counts.shape[-1])]
    baseline = counts[:, -1] - candidate
    candidate[ERRORS] += candidate[EXTRA_ERRORS]
    return candidate, baseline


def serve(trace: Trace, rule: MinuteRule) -> Outcome:
    """Roll out under a rule that looks once a minute."""
    minutes = trace.minutes
    weights = rule.start(trace.runs)
    seconds = np.full(trace.runs, np.inf)
    kinds = minutes.shape[1]
    candidate = np.zeros((len(minutes), kinds, trace.runs), dtype=np.int32)
    baseline = np.zeros_like(candidate)
    for minute, counts in enumerate(minutes):
        candidate[minute], baseline[minute] = split(counts, bound_of(weights))
        seen = minute + 1
        after = rule.look(seen, candidate[:seen], baseline[:seen])
        after = np.where(weights == 0, 0, after)
        seconds[(after == 0) & (weights > 0)] = seen * 60.0
        weights = after
    total = candidate.sum(axis=0, dtype=np.int64)
    return Outcome(seconds, total[REQUESTS], total[EXTRA_ERRORS])
