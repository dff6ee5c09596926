"""Simulated traffic that every rule sees alike: the same requests, answered the same way.

A user's hash bucket decides which arm answers, as in a router with sticky weights, so traffic is
drawn once for each slice of buckets, with what the baseline would have answered and what the
candidate would have. Whatever weights a rule sets, it meets the same requests: common random
numbers. Nothing here knows a rule.

Traffic follows the day (a sine of 24 h, the rollout at a random hour) and varies by minute.
Errors come in bursts that hit both arms alike, a dependency that is out: six in an hour, half a
minute long, three times the usual errors times a Pareto factor of index 1.2, so a few are whole
outages. Answer times have a Pareto tail of index 1.32: 0.4 % of answers take over 500 ms, and
40 % of those over 1,000 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Counts = NDArray[np.int32]
    Floats = NDArray[np.float64]

HORIZON_S = 3 * 3600
"""Three hours, the lifetime that Kayenta's guide starts with."""

BOUNDS = (0, 5, 10, 20, 25, 30, 40, 50, 60, 80, 100)
"""Weights that a rule may set, in percent; the slices lie between them."""

REQUESTS, ERRORS, OVER_500_MS, OVER_1000_MS, EXTRA_ERRORS = range(5)
"""Kinds of counts. `ERRORS` are those that the baseline would give, `EXTRA_ERRORS` the good
answers of the baseline that are bad ones of the candidate: the harm that a fault does."""

FAULTS = ("none", "step", "ramp", "rare")

MOST_RARE = 0.10
BURSTS_PER_HOUR = 6.0
BURST_S = 30.0
BURST_FACTOR = 3.0
BURST_TAIL = 1.2
OVER_500_MS_SHARE = 0.004
OVER_1000_MS_PART = 0.4


@dataclass(frozen=True)
class Cell:
    """One kind of traffic, and what is wrong with the candidate.

    `session_mean` is the mean length of a session, which is geometric; the requests of one
    session fail together, are answered by one arm and fall into one tick. 1: no sessions.
    """

    traffic_rps: float
    base_error: float
    fault: str = "none"
    session_mean: float = 1.0

    def extra_share(self, seconds: Floats) -> Floats:
        """Share of requests that only the candidate fails, at `seconds` since the start.

        `step`: five times the baseline's errors from the first answer on. `ramp`: the same, after
        growing for 5 minutes. `rare`: every input of one kind, 2 % of them at first and 10 %
        after 10 minutes.
        """
        full = 4 * self.base_error
        return {
            "none": np.zeros_like(seconds),
            "step": np.full_like(seconds, full),
            "ramp": full * np.minimum(seconds / 300, 1),
            "rare": np.minimum(0.02 + 0.08 * seconds / 600, MOST_RARE),
        }[self.fault]


@dataclass(frozen=True)
class Trace:
    """Counts of all runs. `ends` are the ticks' ends in seconds.

    `counts` has the shape (ticks, kinds, bounds, runs): what the buckets below each of `BOUNDS`
    got in a tick. `units` is the same for sessions in place of requests, or None.
    """

    ends: Floats
    counts: Counts
    units: Counts | None = None

    @property
    def runs(self) -> int:
        """How many rollouts were drawn."""
        return int(self.counts.shape[-1])

    @cached_property
    def minutes(self) -> Counts:
        """`counts` by whole minutes."""
        first = np.searchsorted(self.ends, np.arange(0, HORIZON_S, 60) + 1e-9)
        return np.asarray(np.add.reduceat(self.counts, first, axis=0, dtype=np.int32))


def tick_ends(traffic_rps: float) -> Floats:
    """Ends of ticks: fine while our rollout shifts traffic, then by minutes.

    The controller looks every 0.25 s; to find nothing sooner than it would, ticks are longer.
    """
    fine, until = (20.0, HORIZON_S) if traffic_rps < 5 else (2.0, 900)
    if traffic_rps > 100:
        fine, until = 0.5, 300
    return np.concatenate(
        [np.arange(fine, until + fine / 2, fine), np.arange(until, HORIZON_S, 60) + 60]
    )


def draw(cells: list[Cell], *, runs: int, seed: int) -> Iterator[Trace]:
    """A trace for each of `cells`, which differ in their fault only and share all the traffic."""
    base = cells[0]
    random = np.random.default_rng(seed)
    ends = tick_ends(base.traffic_rps)
    expected, bad, slow = _environment(base, ends, runs, random)
    widths = np.diff(np.asarray(BOUNDS)) / 100
    mean = np.clip(expected[:, None, :] * widths[:, None] / base.session_mean, 0, None)
    sessions = random.poisson(mean).astype(np.int32)
    failed = random.binomial(sessions, bad[:, None, :]).astype(np.int32)
    well = sessions - failed
    good_requests = _requests(well, base, random)
    bad_requests = _requests(failed, base, random)
    requests = good_requests + bad_requests
    over_500 = random.binomial(requests, slow[:, None, :]).astype(np.int32)
    over_1000 = random.binomial(over_500, OVER_1000_MS_PART).astype(np.int32)
    middle = ends - np.diff(ends, prepend=0) / 2
    for cell in cells:
        extra_share = cell.extra_share(middle)[:, None, None]
        chance = np.clip(extra_share / np.clip(1 - bad[:, None, :], 1e-9, None), 0, 1)
        extra = random.binomial(well, chance).astype(np.int32)
        extra_requests = extra
        units = None
        if base.session_mean > 1:
            extra_requests = np.minimum(_requests(extra, base, random), good_requests)
            slow_units = [np.minimum(over, sessions) for over in (over_500, over_1000)]
            units = _below_bounds([sessions, failed, *slow_units, extra])
        counts = _below_bounds([requests, bad_requests, over_500, over_1000, extra_requests])
        yield Trace(ends, counts, units)


def _environment(
    cell: Cell, ends: Floats, runs: int, random: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Expected requests, and chances of an error and of a slow answer: each (ticks, runs)."""
    lengths = np.diff(ends, prepend=0)
    hour = random.uniform(0, 86400, runs)
    day = np.sin(2 * np.pi * (ends[:, None] + hour) / 86400)
    by_minute = random.lognormal(-0.045, 0.3, (HORIZON_S // 60, runs))
    minute = np.minimum((ends - 1e-9) // 60, HORIZON_S // 60 - 1).astype(int)
    expected = cell.traffic_rps * lengths[:, None] * (1 + 0.5 * day) * by_minute[minute]
    burst = _bursts(ends, lengths, runs, random)
    bad = np.clip(cell.base_error * (1 + 0.3 * day) * burst, 0, 0.95)
    slow = np.clip(OVER_500_MS_SHARE * np.sqrt(burst), 0, 0.95)
    return expected, bad, slow


def _bursts(ends: Floats, lengths: Floats, runs: int, random: np.random.Generator) -> Floats:
    """By what the usual chances are multiplied in each tick of each run."""
    factor = np.ones((len(ends), runs))
    count = random.poisson(BURSTS_PER_HOUR * HORIZON_S / 3600, runs)
    run = np.repeat(np.arange(runs), count)
    start = random.uniform(0, HORIZON_S, len(run))
    until = start + random.exponential(BURST_S, len(run))
    height = BURST_FACTOR * (1 + random.pareto(BURST_TAIL, len(run))) - 1
    first = np.searchsorted(ends, start)
    last = np.minimum(np.searchsorted(ends, until), len(ends) - 1)
    begins = ends - lengths
    for of, low, high, a, b, more in zip(run, first, last, start, until, height, strict=True):
        inside = slice(low, high + 1)
        overlap = np.minimum(ends[inside], b) - np.maximum(begins[inside], a)
        factor[inside, of] += more * np.clip(overlap, 0, None) / lengths[inside]
    return factor


def _requests(sessions: Counts, cell: Cell, random: np.random.Generator) -> Counts:
    """Requests of so many sessions of geometric length."""
    if cell.session_mean == 1:
        return sessions
    more = np.zeros_like(sessions)
    some = sessions > 0
    more[some] = random.negative_binomial(sessions[some], 1 / cell.session_mean)
    return sessions + more


def _below_bounds(kinds: list[Counts]) -> Counts:
    """(ticks, slices, runs) of each kind, as (ticks, kinds, bounds, runs), summed over slices."""
    ticks, slices, runs = kinds[0].shape
    counts = np.zeros((ticks, len(kinds), slices + 1, runs), dtype=np.int32)
    for kind, values in enumerate(kinds):
        np.cumsum(values, axis=1, out=counts[:, kind, 1:])
    return counts
