"""Kills a controller, or lets something else happen, at the n-th point where it matters.

Points lie before and after each journal append and each change of the world.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from canary.ports import Fleet, Router
from pipelines.rollout.controller import Controller
from registry.lease import Leases

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from canary.ports import Admission, RevisionStatus, Route
    from registry.journal import Entry, Journal
    from registry.lease import Lease

    from .stage import Stage


class Killed(BaseException):
    """As kill -9: nothing of the controller runs after it."""


@dataclass
class Points:
    """Counts the points passed and does `act` at number `at`."""

    at: int
    act: Callable[[], None]
    passed: int = 0
    names: list[str] = field(default_factory=list)
    dead: bool = False
    token: int = 0
    """Of the lease under which the controller acts, 0 before it has one."""

    def passing(self, name: str) -> None:
        if self.dead:
            raise Killed
        self.passed += 1
        self.names.append(name)
        if self.passed == self.at:
            self.act()

    def kill(self) -> None:
        self.dead = True
        raise Killed


class CrashingJournal:
    def __init__(self, journal: Journal, points: Points) -> None:
        self._journal = journal
        self._points = points

    def append(self, model: str, kind: str, body: Mapping[str, Any], **named: Any) -> Entry:
        self._points.passing(f"before {kind}")
        entry = self._journal.append(model, kind, body, **named)
        self._points.passing(f"after {kind}")
        return entry

    def permit(self, model: str, kind: str, body: Mapping[str, Any], **named: Any) -> None:
        self._journal.permit(model, kind, body, **named)

    def read(self, model: str, after: int = 0) -> tuple[Entry, ...]:
        return self._journal.read(model, after)

    def last(self, model: str, *kinds: str) -> Entry | None:
        return self._journal.last(model, *kinds)


class CrashingLeases(Leases):
    def __init__(self, leases: Leases, points: Points) -> None:
        self._leases = leases
        self._points = points

    def acquire(self, model: str, holder: str, *, now: float, ttl_s: float) -> Lease:
        lease = self._leases.acquire(model, holder, now=now, ttl_s=ttl_s)
        self._points.token = lease.token
        return lease

    def take_over(self, model: str, holder: str, *, now: float, ttl_s: float) -> Lease:
        lease = self._leases.take_over(model, holder, now=now, ttl_s=ttl_s)
        self._points.token = lease.token
        return lease

    def renew(self, lease: Lease, *, now: float, ttl_s: float) -> Lease:
        return self._leases.renew(lease, now=now, ttl_s=ttl_s)

    def release(self, lease: Lease) -> None:
        if self._points.dead:
            raise Killed
        self._leases.release(lease)


class CrashingFleet(Fleet):
    def __init__(self, fleet: Fleet, points: Points) -> None:
        self._fleet = fleet
        self._points = points

    def start(self, model: str, release: int) -> None:
        self._points.passing("before start")
        self._fleet.start(model, release)
        self._points.passing("after start")

    def status(self, model: str, release: int) -> RevisionStatus:
        return self._fleet.status(model, release)

    def admit(self, model: str, release: int) -> Admission:
        self._points.passing("before admit")
        admission = self._fleet.admit(model, release)
        self._points.passing("after admit")
        return admission

    def stop(self, model: str, release: int) -> None:
        self._points.passing("before stop")
        self._fleet.stop(model, release)
        self._points.passing("after stop")

    def running(self, model: str) -> tuple[int, ...]:
        return self._fleet.running(model)


class CrashingRouter(Router):
    def __init__(self, router: Router, points: Points) -> None:
        self._router = router
        self._points = points

    def write(self, route: Route) -> None:
        self._points.passing("before write")
        self._router.write(route)
        self._points.passing("after write")

    def read(self, model: str) -> Route | None:
        return self._router.read(model)


def crashing_controller(
    stage: Stage,
    points: Points,
    *,
    sleep: Callable[[float], None] | None = None,
    actor: str = "crashing",
) -> Controller:
    controller = Controller(
        CrashingJournal(stage.journal, points),  # type: ignore[arg-type] # appends and reads only
        CrashingLeases(stage.leases, points),
        CrashingFleet(stage.world.fleet, points),
        CrashingRouter(stage.world.router, points),
        stage.world.telemetry,
        clock=stage.world.clock,
        sleep=sleep or stage.world.sleep,
        steady=stage.world.steady,
        actor=actor,
        aliases=lambda *alias: set_alias(stage, points, alias),
    )
    return stage.knowing(controller)


def set_alias(stage: Stage, points: Points, alias: tuple[str, str, int]) -> None:
    points.passing("before alias")
    stage.aliases.append(alias)
    points.passing("after alias")
