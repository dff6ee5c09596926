"""The outside world as a rollout sees it: three ports, and the values that pass through them.

The in-memory world in the tests and the engines in `infra/` answer the same conformance tests.
Nothing here knows a process, a URL or a cluster.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


SLOW_LIMITS_MS = (10, 25, 50, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 1500, 2000, 3000, 5000)
"""Limits, in milliseconds, that a router can count slow answers against (its histogram bounds)."""


class RevisionState(StrEnum):
    """What a fleet sees of one revision."""

    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RevisionStatus:
    """State of one revision; `detail` says why when it is not ready.

    `devices` are those that answer a ready revision, by its server's own word, such as
    ("CPU",): for a person to read, nothing is decided by them. Empty where the server says none.
    """

    state: RevisionState
    detail: str = ""
    restarts: int = 0
    devices: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a revision may get traffic: one reason for each check, passed or not."""

    admitted: bool
    checks: tuple[tuple[str, bool, str], ...]
    """(check, passed, detail), in the order they were made; a failed one ends the list."""


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a model's traffic that a release gets, in percent, 0 to 100."""

    release: int
    weight: int


@dataclass(frozen=True, slots=True)
class Route:
    """Where one model's requests go. Weights add to 100; the candidate stands last.

    `token` is the fencing token of the lease under which the route was written.
    """

    model: str
    shares: tuple[Share, ...]
    token: int

    def __post_init__(self) -> None:
        if sum(share.weight for share in self.shares) != 100:
            raise ValueError(f"weights of {self.model} do not add to 100: {self.shares}")
        if any(not 0 <= share.weight <= 100 for share in self.shares):
            raise ValueError(f"a weight of {self.model} is outside 0 to 100: {self.shares}")
        if len({share.release for share in self.shares}) != len(self.shares):
            raise ValueError(f"a release of {self.model} stands twice in its route: {self.shares}")

    def weight_of(self, release: int) -> int:
        """Percent of the traffic that `release` gets, 0 when it is not in the route."""
        return next((share.weight for share in self.shares if share.release == release), 0)


@dataclass(frozen=True, slots=True)
class ArmCounters:
    """Requests answered by one release since the router started: totals, never rates.

    `errors` are answers other than success, refusals included: a release that refuses what its
    baseline answers is a worse release. `slow` are answers later than the plan's limit.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0


class Fleet(ABC):
    """Starts, checks and stops revisions. Every method may be called again without harm.

    Raises EngineError (retryable or permanent) when the engine cannot be asked or cannot act.
    """

    @abstractmethod
    def start(self, model: str, release: int) -> None:
        """Ask for the revision; returns before it is ready. Running already: does nothing."""

    @abstractmethod
    def status(self, model: str, release: int) -> RevisionStatus:
        """What is true now, by looking."""

    @abstractmethod
    def admit(self, model: str, release: int) -> Admission:
        """Check a ready revision: hash, ready, version, golden answers. Changes nothing."""

    @abstractmethod
    def stop(self, model: str, release: int) -> None:
        """Stop the revision and wait until it is gone. Absent already: does nothing."""

    @abstractmethod
    def running(self, model: str) -> tuple[int, ...]:
        """Releases of the model that have a revision, in growing order."""


class Router(ABC):
    """Decides which revision answers a request. Sessions stick to a side while weights grow."""

    @abstractmethod
    def write(self, route: Route) -> None:
        """Make `route` the model's only route.

        Raises FencedError when a route with a larger token was written before, EngineError when
        the router cannot take it. Writing the same route again does nothing.
        """

    @abstractmethod
    def read(self, model: str) -> Route | None:
        """The route that the router really uses, by asking it; None when the model has none."""


class Telemetry(ABC):
    """Counts what the router saw."""

    @abstractmethod
    def read(self, model: str, slow_ms: int) -> Mapping[int, ArmCounters]:
        """Totals by release since the router started; `slow_ms` is one of SLOW_LIMITS_MS.

        Raises RetryableEngineError when the counters cannot be had in time.
        """
