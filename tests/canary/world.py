"""An in-memory world behind the three ports: a fleet, a router and traffic, with faults to order.

Time is virtual: `sleep` moves it and sends the traffic that came meanwhile. Everything random is
seeded, so a failing schedule can be run again.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from canary.ports import (
    Admission,
    ArmCounters,
    Fleet,
    Output,
    Pair,
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
    empty_share: float = 0.0
    fallback_share: float = 0.0
    memory_mb: float = 0.0
    """What its revision holds when it is ready; 0: nobody knows."""
    leak_mb_per_s: float = 0.0


@dataclass
class Epoch:
    """What one set of weights saw of sessions, those left out that failed earlier."""

    arms: dict[int, list[int]] = field(default_factory=dict)
    """By release: sessions, failed, slow, empty, by the fallback."""
    known: dict[str, tuple[bool, ...]] = field(default_factory=dict)
    """By session: failed, slow, empty, by the fallback."""
    failed_before: frozenset[str] = frozenset()
    told_before: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    """Sessions that had an empty answer earlier, and that had one by the fallback."""

    def following(self) -> Epoch:
        """The next one of the same comparison."""
        known = self.known.items()
        told = [
            before | {name for name, events in known if events[place]}
            for place, before in enumerate(self.told_before, start=2)
        ]
        return Epoch(failed_before=self.failed(), told_before=(told[0], told[1]))

    def failed(self) -> frozenset[str]:
        """Sessions that failed in this comparison."""
        return self.failed_before | {name for name, events in self.known.items() if events[0]}

    def note(self, release: int, session: str, *events: bool) -> None:
        if session in self.failed_before:
            return
        arm = self.arms.setdefault(release, [0] * 5)
        before = self.known.get(session)
        arm[0] += before is None
        were = before or (False, False, *(session in told for told in self.told_before))
        for place, (event, was) in enumerate(zip(events, were, strict=True), start=1):
            arm[place] += event and not was
        self.known[session] = tuple(now or was for now, was in zip(events, were, strict=True))

    def note_many(self, release: int, *counts: int) -> None:
        """Sessions of one request each: how many, failed, slow, empty, by the fallback."""
        arm = self.arms.setdefault(release, [0] * 5)
        for place, count in enumerate(counts):
            arm[place] += count


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
    epoch: Epoch = field(default_factory=Epoch)
    tells_sessions: bool = True
    mirrored: list[Pair] = field(default_factory=list)
    """Copies that were answered, beside the answers that callers got."""
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
    clock_set_by_s: float = 0.0
    """How far somebody set the clock; time itself goes on."""
    misrouted: float | None = None
    """The candidate's real share of `sleep`'s traffic while two releases are compared."""

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.fleet: Fleet = MemoryFleet(self)
        self.router: Router = MemoryRouter(self)
        self.telemetry: Telemetry = MemoryTelemetry(self)

    # Time and traffic

    def clock(self) -> float:
        return self.now + self.clock_set_by_s

    def steady(self) -> float:
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
        if self.misrouted is not None and self.route.compares:
            weights = np.array([1 - self.misrouted, self.misrouted])
        counts = self.random.multinomial(count, weights)
        for share, requests in zip(self.route.shares, counts, strict=True):
            self._answer(share.release, int(requests))
            if self.route.mirror is not None:
                copied = self.random.binomial(int(requests), self.route.mirror.percent / 100)
                self._mirror(share.release, int(copied))

    def _answer(
        self,
        release: int,
        requests: int,
        *,
        error_share: float | None = None,
        session: str | None = None,
    ) -> dict[int, int]:
        """Count requests routed to one release; how many each release answered well."""
        behaviour = self.behaviour(release)
        share = behaviour.error_share if error_share is None else error_share
        if self.state(release) is not RevisionState.READY:
            share = 1.0
        errors = int(self.random.binomial(requests, share))
        slow = int(self.random.binomial(requests, behaviour.slow_share))
        gained = ArmCounters(
            requests,
            errors,
            slow,
            int(self.random.binomial(requests - errors, behaviour.empty_share)),
            int(self.random.binomial(requests - errors, behaviour.fallback_share)),
        )
        before = self.counters.get(release, ArmCounters())
        self.counters[release] = ArmCounters(
            *(old + new for old, new in zip(astuple(before), astuple(gained), strict=True))
        )
        self._note_sessions(release, gained, session)
        well = {release: requests - errors}
        again = self.route.retry_to if self.route else None
        if again not in {None, release} and self.state(again or 0) is RevisionState.READY:
            well[again or 0], errors = errors, 0
        if self.state(release) is not RevisionState.READY:
            self.unanswered += errors
        return {answered: count for answered, count in well.items() if count}

    def _note_sessions(self, release: int, gained: ArmCounters, session: str | None) -> None:
        if self.route is None or not self.route.compares:
            return
        events = (gained.errors, gained.slow, gained.empty, gained.fallbacks)
        if session is None:
            self.epoch.note_many(release, gained.requests, *events)
        elif gained.requests:
            self.epoch.note(release, session, *(count > 0 for count in events))

    def _mirror(self, answered_by: int, copies: int) -> None:
        """Answer copies, and remember both answers to each; nobody waits and nothing counts."""
        assert self.route is not None
        assert self.route.mirror is not None
        candidate = self.route.mirror.release
        if self.state(candidate) is not RevisionState.READY or candidate == answered_by:
            return
        for _ in range(copies):
            name = f"copy-{len(self.mirrored)}"
            outputs = self._output(answered_by), self._output(candidate)
            self.mirrored.append(Pair(name, name, self.clock(), *outputs))

    def _output(self, release: int) -> Output:
        behaviour = self.behaviour(release)
        error, empty, fallback, slow = self.random.random(4) < (
            behaviour.error_share,
            behaviour.empty_share,
            behaviour.fallback_share,
            behaviour.slow_share,
        )
        empty, fallback = bool(empty and not error), bool(fallback and not error)
        return Output(
            empty=empty,
            fallback=fallback,
            length=0 if empty or error else 5,
            latency_ms=5000.0 if slow else 20.0,
            text_hash="" if empty or error else "same",
            error=bool(error),
        )

    def send(self, count: int, *, session: str | None = None) -> dict[int, int]:
        """Requests now; how many each release answered well (see conformance.py)."""
        answered: dict[int, int] = {}
        for number in range(count):
            release = self._side(session or f"request-{self.random.integers(2**62)}-{number}")
            for by, well in self._answer(release, 1, session=session).items():
                answered[by] = answered.get(by, 0) + well
            if self.route is not None and self.route.mirror is not None:
                self._mirror(release, int(self.random.random() < self.route.mirror.percent / 100))
        return answered

    def send_bad(self, count: int, *, session: str | None = None) -> None:
        for number in range(count):
            side = self._side(session or f"bad-{number}")
            before, self.route = self.route, replace(self._routed(), retry_to=None)
            self._answer(side, 1, error_share=1.0, session=session)
            self.route = before

    def send_empty(self, count: int, *, session: str | None = None) -> None:
        assert self.route is not None
        usual = self.behaviours
        mute = Behaviour(empty_share=1.0, fallback_share=1.0)
        known = {*self.revisions, *usual}
        self.behaviours = {release: replace(mute, ready_after_s=0.0) for release in known}
        self.send(count, session=session)
        self.behaviours = usual

    def _routed(self) -> Route:
        assert self.route is not None
        return self.route

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
        ready_s = self.world.now - revision.started_at - behaviour.ready_after_s
        held = round((behaviour.memory_mb + behaviour.leak_mb_per_s * ready_s) * 1e6)
        return RevisionStatus(RevisionState.READY, "", revision.restarts, memory_bytes=held)

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
            goes_on = before is not None and before.compares and route.compares
            self.world.epoch = self.world.epoch.following() if goes_on else Epoch()
        if before is None or replace(before, token=route.token) != route:
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
        totals = dict(self.world.counters)
        if not self.world.tells_sessions:
            return totals
        for release, (sessions, failed, slow, empty, fallback) in self.world.epoch.arms.items():
            totals[release] = replace(
                totals.get(release, ArmCounters()),
                sessions=sessions,
                sessions_failed=failed,
                sessions_slow=slow,
                sessions_empty=empty,
                sessions_fallback=fallback,
            )
        return totals

    def pairs(self, model: str, baseline: int, candidate: int, after: float) -> tuple[Pair, ...]:
        assert model == self.world.model
        assert baseline != candidate
        return tuple(pair for pair in self.world.mirrored if pair.at > after)
