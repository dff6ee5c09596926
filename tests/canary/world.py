"""An in-memory world behind the three ports: a fleet, a router and traffic, with faults to order.

Time is virtual: `sleep` moves it and sends the traffic that came meanwhile. Everything random is
seeded, so a failing schedule can be run again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from canary.ports import (
    Admission,
    ArmCounters,
    Fleet,
    RevisionState,
    RevisionStatus,
    Route,
    Router,
    Telemetry,
)
from registry.errors import FencedError, RetryableEngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Behaviour:
    """What one release does when it is started and asked."""

    published: bool = True
    fails: bool = False
    """Its revision ends FAILED."""
    unfit: bool = False
    """It gets ready but is not what was published."""
    ready_after_s: float = 0.2
    error_share: float = 0.0
    slow_share: float = 0.0


@dataclass
class Revision:
    """One started release: when it was started, and whether it died since."""

    started_at: float
    failed: str = ""
    restarts: int = 0


@dataclass
class MemoryWorld:
    """One model's engines. `calls` is everything that was asked to change, in order."""

    model: str = "speech"
    requests_per_s: float = 400.0
    seed: int = 1
    now: float = 1_000_000.0
    behaviours: dict[int, Behaviour] = field(default_factory=dict)
    revisions: dict[int, Revision] = field(default_factory=dict)
    admitted: set[int] = field(default_factory=set)
    route: Route | None = None
    newest_token: int = 0
    counters: dict[int, ArmCounters] = field(default_factory=dict)
    unanswered: int = 0
    """Requests that went to a release that was not ready, or that had no route."""
    calls: list[tuple[str, object]] = field(default_factory=list)
    stopped_as: RevisionState = RevisionState.ABSENT
    """What the last revision that was stopped was then."""
    watch: Callable[[MemoryWorld], None] | None = None
    """Called after every change; tests put their invariants here."""
    route_write_failures: int = 0
    """How many route writes fail before one goes through."""
    lost_confirmations: int = 0
    """How many route reads time out."""
    telemetry_failures: int = 0

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.fleet: Fleet = MemoryFleet(self)
        self.router: Router = MemoryRouter(self)
        self.telemetry: Telemetry = MemoryTelemetry(self)

    # Time and traffic

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass, and the traffic that comes in it."""
        self.now += seconds
        if self.requests_per_s:
            self._traffic(int(self.random.poisson(self.requests_per_s * seconds)))

    def _traffic(self, count: int) -> None:
        if self.route is None:
            self.unanswered += count
            return
        weights = np.array([share.weight for share in self.route.shares]) / 100
        counts = self.random.multinomial(count, weights)
        for share, requests in zip(self.route.shares, counts, strict=True):
            self._answer(share.release, int(requests))

    def _answer(self, release: int, requests: int, *, error_share: float | None = None) -> int:
        """Count requests to one release; how many it answered well."""
        behaviour = self.behaviour(release)
        share = behaviour.error_share if error_share is None else error_share
        if self.state(release) is not RevisionState.READY:
            self.unanswered += requests
            share = 1.0
        errors = int(self.random.binomial(requests, share))
        slow = int(self.random.binomial(requests, behaviour.slow_share))
        before = self.counters.get(release, ArmCounters())
        self.counters[release] = ArmCounters(
            before.requests + requests, before.errors + errors, before.slow + slow
        )
        return requests - errors

    def send(self, count: int, *, session: str | None = None) -> dict[int, int]:
        """Requests now; how many each release answered well (see conformance.py)."""
        answered: dict[int, int] = {}
        for number in range(count):
            release = self._side(session or f"request-{self.random.integers(2**62)}-{number}")
            well = self._answer(release, 1)
            if well:
                answered[release] = answered.get(release, 0) + well
        return answered

    def send_bad(self, count: int) -> None:
        for number in range(count):
            self._answer(self._side(f"bad-{number}"), 1, error_share=1.0)

    def _side(self, session: str) -> int:
        assert self.route is not None
        point = int(hashlib.sha256(session.encode()).hexdigest(), 16) % 100
        # The candidate stands last and takes the low points, so growing it sends nobody back.
        for share in reversed(self.route.shares):
            if point < share.weight:
                return share.release
            point -= share.weight
        raise AssertionError("weights add to 100")

    # Faults

    def behaviour(self, release: int) -> Behaviour:
        return self.behaviours.get(release, Behaviour())

    def state(self, release: int) -> RevisionState:
        return self.fleet.status(self.model, release).state

    def fail(self, release: int, why: str = "killed by signal 9") -> None:
        """The revision dies and its supervisor gives up."""
        self.revisions[release].failed = why

    def vanish(self, *releases: int) -> None:
        """The revisions are gone, as after the machine restarted."""
        for release in releases or tuple(self.revisions):
            self.revisions.pop(release, None)
            self.admitted.discard(release)

    def restart_router(self, *, forget_route: bool = False) -> None:
        """Counters begin at zero."""
        self.counters.clear()
        if forget_route:
            self.route = None

    def change(self, name: str, argument: object) -> None:
        """Remember that something changed and let the invariants look."""
        self.calls.append((name, argument))
        if self.watch is not None:
            self.watch(self)


class MemoryFleet(Fleet):
    """Revisions that get ready after a while of virtual time."""

    def __init__(self, world: MemoryWorld) -> None:
        self.world = world

    def start(self, model: str, release: int) -> None:
        assert model == self.world.model
        if release not in self.world.revisions:
            self.world.revisions[release] = Revision(self.world.now)
            self.world.change("start", release)

    def status(self, model: str, release: int) -> RevisionStatus:
        assert model == self.world.model
        revision = self.world.revisions.get(release)
        if revision is None:
            return RevisionStatus(RevisionState.ABSENT)
        behaviour = self.world.behaviour(release)
        if revision.failed:
            return RevisionStatus(RevisionState.FAILED, revision.failed, revision.restarts)
        if self.world.now < revision.started_at + behaviour.ready_after_s:
            return RevisionStatus(RevisionState.STARTING, "loading", revision.restarts)
        if behaviour.fails or not behaviour.published:
            return RevisionStatus(RevisionState.FAILED, "the model does not load")
        return RevisionStatus(RevisionState.READY, "", revision.restarts)

    def admit(self, model: str, release: int) -> Admission:
        status = self.status(model, release)
        if status.state is not RevisionState.READY:
            return Admission(admitted=False, checks=(("ready", False, f"is {status.state}"),))
        if self.world.behaviour(release).unfit:
            checks = (("ready", True, ""), ("golden", False, "3 of 8 answers differ"))
            return Admission(admitted=False, checks=checks)
        self.world.admitted.add(release)
        return Admission(admitted=True, checks=(("ready", True, ""), ("golden", True, "8 of 8")))

    def stop(self, model: str, release: int) -> None:
        assert model == self.world.model
        self.world.stopped_as = self.status(model, release).state
        if self.world.revisions.pop(release, None) is not None:
            self.world.admitted.discard(release)
            self.world.change("stop", release)

    def running(self, model: str) -> tuple[int, ...]:
        assert model == self.world.model
        return tuple(sorted(self.world.revisions))


class MemoryRouter(Router):
    """One route, in use as soon as it is written."""

    def __init__(self, world: MemoryWorld) -> None:
        self.world = world

    def write(self, route: Route) -> None:
        assert route.model == self.world.model
        if route.token < self.world.newest_token:
            raise FencedError(f"token {route.token} is older than {self.world.newest_token}")
        if self.world.route_write_failures:
            self.world.route_write_failures -= 1
            raise RetryableEngineError("the router did not take the route in time")
        self.world.newest_token = route.token
        before, self.world.route = self.world.route, route
        if before is None or before.shares != route.shares:
            self.world.change("route", route)

    def read(self, model: str) -> Route | None:
        assert model == self.world.model
        if self.world.lost_confirmations:
            self.world.lost_confirmations -= 1
            raise RetryableEngineError("the router did not answer in time")
        return self.world.route


class MemoryTelemetry(Telemetry):
    """Totals of what `sleep` and `send` sent."""

    def __init__(self, world: MemoryWorld) -> None:
        self.world = world

    def read(self, model: str, slow_ms: int) -> Mapping[int, ArmCounters]:
        assert model == self.world.model
        assert slow_ms > 0
        if self.world.telemetry_failures:
            self.world.telemetry_failures -= 1
            raise RetryableEngineError("the counters were not had in time")
        return dict(self.world.counters)
