"""Which serving settings to measure next, and which of those measured to keep.

One setting is varied at a time, each from the best so far, because a full grid of them would cost
half an hour and these barely interact. Pure: measurements in, settings out; the load is
`pipelines/`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_repository.config import Batching

BATCH_SIZES = (1, 4, 8, 16, 32)
QUEUE_DELAYS_US = (0, 1_000, 2_000, 5_000, 10_000)
INSTANCES = (1, 2, 4)
STAGES = ("max_batch_size", "queue_delay_us", "instances")
"""Settings in the order in which they are varied: the one that decides most comes first."""
_WORTH = 1.03
"""Gain below which a larger setting is noise: the cheaper one, tried first, is kept."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One setting under load: answers a second, and milliseconds to an answer."""

    batching: Batching
    throughput_rps: float
    p50_ms: float
    p95_ms: float
    failed: int = 0
    detail: str = ""
    """Why it could not be measured."""

    def to_json(self) -> dict[str, Any]:
        """What was varied and what came of it."""
        return {
            **{name: getattr(self.batching, name) for name in (*STAGES, "threads")},
            "throughput_rps": round(self.throughput_rps, 2),
            "p50_ms": round(self.p50_ms, 2) if math.isfinite(self.p50_ms) else None,
            "p95_ms": round(self.p95_ms, 2) if math.isfinite(self.p95_ms) else None,
            "failed": self.failed,
            "detail": self.detail,
        }


class Sweep:
    """The measurements so far, and what they say.

    `slowest_ms` is the largest 95th percentile that may be kept; `cores` are shared by the
    instances, so the threads of each follow from their number.
    """

    def __init__(self, start: Batching, *, slowest_ms: float, cores: int) -> None:
        self._start = replace(start, instances=1, threads=cores)
        self._slowest_ms, self._cores = slowest_ms, cores
        self.measured: list[Measurement] = []

    def settings(self) -> Iterator[Batching]:
        """Settings to measure, one after the other; `take` each before asking for the next."""
        for stage in STAGES:
            base = self.best.batching if self.measured else self._start
            for batching in self._varied(base, stage):
                if all(one.batching != batching for one in self.measured):
                    yield batching

    def take(self, measurement: Measurement) -> None:
        """Remember what was measured of the setting that `settings` gave last."""
        self.measured.append(measurement)

    @property
    def best(self) -> Measurement:
        """The highest throughput within the limit; without any, the shortest 95th percentile.

        Of settings nearly as good, the one that was tried first. A setting with failed requests
        is never the best while another has none.
        """
        sound = [one for one in self.measured if not one.failed] or self.measured
        within = [one for one in sound if one.p95_ms <= self._slowest_ms]
        if not within:
            return min(sound, key=lambda one: one.p95_ms)
        best = within[0]
        for one in within[1:]:
            if one.throughput_rps > _WORTH * best.throughput_rps:
                best = one
        return best

    @property
    def holds(self) -> bool:
        """Whether the best keeps the limit."""
        return self.best.p95_ms <= self._slowest_ms and not self.best.failed

    def _varied(self, base: Batching, stage: str) -> Iterator[Batching]:
        if stage == "max_batch_size":
            yield from (replace(base, max_batch_size=size) for size in BATCH_SIZES)
        elif stage == "queue_delay_us":
            yield from (replace(base, queue_delay_us=delay) for delay in QUEUE_DELAYS_US)
        else:
            for count in INSTANCES:
                if count <= self._cores:
                    yield replace(base, instances=count, threads=max(1, self._cores // count))
