"""What one look of a canary costs, and whether a day of looks costs more than an hour.

    python -m benchmarks.canary_tick

A controller drives one step of `--hours` through the real journal (sqlite) in a world whose clock
is turned and whose releases answer alike, as fast as it can. The last line of the output is one
JSON object: `tick_ms` is the time of one look with its decision, and its entry where it makes one;
`decide_ms` of the decision alone, at counts of a day; `entries` and `entries_last_hour` what the
journal got; `memory_growth_mb` what the process grew by from the end of the first hour to the end
of the last; `state_bytes` the folded state, pickled, at both; `e_process_s` the time in which the
e-processes of one metric take 10 million events, in a thousand blocks.
"""

from __future__ import annotations

import argparse
import json
import pickle
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from canary.decide import decide, says_something
from canary.evidence import Stratum
from canary.metrics import Evidence
from canary.plan import RolloutPlan, Step
from canary.ports import (
    Admission,
    ArmCounters,
    Fleet,
    RevisionState,
    RevisionStatus,
    Router,
    Telemetry,
)
from canary.rollout import Observation
from pipelines.rollout.controller import Controller
from registry.journal import Journal
from registry.lease import Leases

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from canary.ports import Route
    from canary.rollout import ModelServing

MODEL = "steady"
HOUR_S = 3600.0
BAD = 0.01
"""Errors, and slow answers, of both releases."""
EVENTS, BLOCKS = 10_000_000, 1000


@dataclass
class World:
    """A world in which nothing goes wrong, and whose counts follow from its clock."""

    requests_per_s: float
    now: float = 1_000_000.0
    route: Route | None = None
    counters: dict[int, ArmCounters] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    looks: list[float] = field(default_factory=list)
    """When each look began, by `time.perf_counter()`."""

    def sleep(self, seconds: float) -> None:
        """Let time pass, and the traffic that comes in it."""
        self.now += seconds
        for share in self.route.shares if self.route else ():
            came = int(self.requests_per_s * seconds * share.weight / 100)
            bad = int(came * BAD)
            before = self.counters.get(share.release, ArmCounters())
            after = replace(
                before,
                requests=before.requests + came,
                errors=before.errors + bad,
                slow=before.slow + bad,
            )
            if self.route is not None and len(self.route.shares) > 1:
                after = replace(
                    after,
                    sessions=before.sessions + came,
                    sessions_failed=before.sessions_failed + bad,
                    sessions_slow=before.sessions_slow + bad,
                )
            self.counters[share.release] = after
        self.looks.append(time.perf_counter())


@dataclass
class SteadyFleet(Fleet):
    """Revisions that are ready at once."""

    world: World

    def start(self, model: str, release: int) -> None:  # noqa: ARG002 - there is one model
        """Ready."""
        self.world.running.add(release)

    def status(self, model: str, release: int) -> RevisionStatus:  # noqa: ARG002
        """Ready, once started."""
        there = release in self.world.running
        return RevisionStatus(RevisionState.READY if there else RevisionState.ABSENT)

    def admit(self, model: str, release: int) -> Admission:  # noqa: ARG002
        """Fit."""
        return Admission(admitted=True, checks=())

    def stop(self, model: str, release: int) -> None:  # noqa: ARG002
        """Gone."""
        self.world.running.discard(release)

    def running(self, model: str) -> tuple[int, ...]:  # noqa: ARG002
        """Those that were started."""
        return tuple(sorted(self.world.running))


@dataclass
class SteadyRouter(Router):
    """A route that is in use as soon as it is written."""

    world: World

    def write(self, route: Route) -> None:
        """Use it; its sessions are counted anew."""
        self.world.route = route
        for release, arm in self.world.counters.items():
            self.world.counters[release] = ArmCounters(arm.requests, arm.errors, arm.slow)

    def read(self, model: str) -> Route | None:  # noqa: ARG002
        """The one that was written."""
        return self.world.route


@dataclass
class SteadyTelemetry(Telemetry):
    """What the traffic counted."""

    world: World

    def read(self, model: str, slow_ms: int) -> Mapping[int, ArmCounters]:  # noqa: ARG002
        """All of it."""
        return dict(self.world.counters)


def day(*, hours: float, tick_s: float, requests_per_s: float) -> dict[str, Any]:
    """One step of `hours`, looked at every `tick_s`; what it cost."""
    plan = RolloutPlan(
        steps=(Step(weight=10, hold_s=hours * HOUR_S), Step(weight=100)),
        tick_s=tick_s,
        bake_s=0,
    )
    world, marks = World(requests_per_s), _Marks(hours)
    with tempfile.TemporaryDirectory(prefix="sluice-tick-") as folder:
        journal = Journal(f"sqlite:///{Path(folder) / 'journal.db'}")
        controller = _controller(world, journal, marks)
        controller.promote(MODEL, 1, plan.model_copy(update={"bake_s": 0.0}))
        marks.began = world.now
        world.looks.clear()
        result = controller.promote(MODEL, 2, plan)
        entries = journal.read(MODEL)
        journal.close()
    if result.outcome != "settled":
        raise RuntimeError(f"{result.outcome}: {result.reason}")
    looked = 1000 * np.diff(world.looks)
    last = entries[-1].at - HOUR_S
    return {
        "hours": hours,
        "tick_s": tick_s,
        "requests": sum(arm.requests for arm in world.counters.values()),
        "looks": len(world.looks),
        "tick_ms_p50": round(float(np.median(looked)), 2),
        "tick_ms_p99": round(float(np.quantile(looked, 0.99)), 2),
        "entries": len(entries),
        "entries_last_hour": sum(entry.at > last for entry in entries),
        "memory_growth_mb": round((marks.memory[-1] - marks.memory[0]) / 1e6, 1),
        "state_bytes": [marks.state[0], marks.state[-1]],
        **decision_ms(marks.serving, world),
    }


@dataclass
class _Marks:
    """Memory and state at the end of each hour, read between two looks."""

    hours: float
    began: float = 0.0
    memory: list[int] = field(default_factory=list)
    state: list[int] = field(default_factory=list)
    serving: ModelServing | None = None

    def at(self, now: float, controller: Controller) -> None:
        """Take one, if an hour is over."""
        if not self.began or now < self.began + HOUR_S * (len(self.memory) + 1):
            return
        serving = controller.serving(MODEL)
        if serving.rollout is None or serving.rollout.held_from is None:
            return
        self.serving = serving
        self.state.append(len(pickle.dumps(serving)))
        self.memory.append(psutil.Process().memory_info().rss)


def _controller(world: World, journal: Journal, marks: _Marks) -> Controller:
    def sleep(seconds: float) -> None:
        world.sleep(seconds)
        marks.at(world.now, controller)

    controller = Controller(
        journal,
        Leases(journal),
        SteadyFleet(world),
        SteadyRouter(world),
        SteadyTelemetry(world),
        clock=lambda: world.now,
        sleep=sleep,
        actor="benchmark",
    )
    return controller


def decision_ms(serving: ModelServing | None, world: World) -> dict[str, float]:
    """The time of one decision at the last mark, which has the counts of most of the step."""
    if serving is None or serving.rollout is None:
        raise RuntimeError("the step ended before its first hour")
    ready = RevisionStatus(RevisionState.READY)
    seen = Observation(serving.rollout.started_at, {1: ready, 2: ready}, dict(world.counters))
    times = []
    for _ in range(200):
        began = time.perf_counter()
        says_something(serving, seen, decide(serving, seen))
        times.append(1000 * (time.perf_counter() - began))
    return {"decide_ms_p50": round(float(np.median(times)), 3)}


def e_process_s() -> float:
    """The time in which `errors` of both arms take EVENTS events, in BLOCKS blocks."""
    plan = RolloutPlan()
    compared = Evidence.none(plan).errors
    each = EVENTS // BLOCKS
    began = time.perf_counter()
    for _ in range(BLOCKS):
        compared = compared.after(Stratum(each // 2, each, 0.5), plan, 1, 0.5)
        if compared.harm.reaches(plan.alpha):
            raise RuntimeError("equal arms were told apart")
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--tick", type=float, default=5.0, help="seconds of the turned clock")
    parser.add_argument("--rate", type=float, default=400.0, help="requests a second")
    given = parser.parse_args(arguments)
    took = e_process_s()
    figures = day(hours=given.hours, tick_s=given.tick, requests_per_s=given.rate)
    print(json.dumps({"e_process_events": EVENTS, "e_process_s": round(took, 3), **figures}))


if __name__ == "__main__":
    main()
