"""The outside world as a rollout sees it: three ports, and the values that pass through them.

The in-memory world in the tests and the engines in `infra/` answer the same conformance tests.
Nothing here knows a process, a URL or a cluster.
"""

from __future__ import annotations

import math
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
    `memory_bytes` is what a ready revision's processes hold in memory, 0 where nobody knows.
    """

    state: RevisionState
    detail: str = ""
    restarts: int = 0
    devices: tuple[str, ...] = field(default=(), compare=False)
    memory_bytes: int = field(default=0, compare=False)


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
class Mirror:
    """Copies of a model's requests to a release whose answers are thrown away.

    `percent` of the requests that the weights send elsewhere are copied, 1 to 100.
    """

    release: int
    percent: int


@dataclass(frozen=True, slots=True)
class Route:
    """Where one model's requests go. Weights add to 100; the candidate stands last.

    `token` is the fencing token of the lease under which the route was written. `retry_to` is the
    release that answers an inference again when the candidate failed before any byte of its
    answer was sent; the candidate's failure counts all the same.
    """

    model: str
    shares: tuple[Share, ...]
    token: int
    mirror: Mirror | None = None
    retry_to: int | None = None

    def __post_init__(self) -> None:
        if sum(share.weight for share in self.shares) != 100:
            raise ValueError(f"weights of {self.model} do not add to 100: {self.shares}")
        if any(not 0 <= share.weight <= 100 for share in self.shares):
            raise ValueError(f"a weight of {self.model} is outside 0 to 100: {self.shares}")
        if len({share.release for share in self.shares}) != len(self.shares):
            raise ValueError(f"a release of {self.model} stands twice in its route: {self.shares}")
        if self.mirror is not None and not 1 <= self.mirror.percent <= 100:
            raise ValueError(f"a mirror of {self.model} is outside 1 to 100: {self.mirror}")
        if all(share.release == self.retry_to for share in self.shares):
            raise ValueError(f"release {self.retry_to} of {self.model} would ask itself again")

    @property
    def compares(self) -> bool:
        """Whether at least two releases get traffic."""
        return sum(share.weight > 0 for share in self.shares) > 1

    def weight_of(self, release: int) -> int:
        """Percent of the traffic that `release` gets, 0 when it is not in the route."""
        return next((share.weight for share in self.shares if share.release == release), 0)


@dataclass(frozen=True, slots=True)
class ArmCounters:
    """Answers of one release: totals, never rates.

    The first five count requests since the router started. `errors` are answers other than
    success, refusals included: a release that refuses what its baseline answers is a worse
    release. `slow` are answers later than the plan's limit. `empty` and `fallbacks` are what the
    release's own program says of its answers to requests that the weights sent, copies left out;
    0 where it says nothing. They are told from the telemetry's first look at the model on, and a
    little after the router counted the request.

    The others count distinct sessions since the model's weights changed last (an epoch); a request
    without a session is one of its own. `sessions_failed`, `sessions_slow`, `sessions_empty` and
    `sessions_fallback` are those with at least one such answer, of sessions that had none in an
    earlier epoch of the same comparison. All are 0 where the router cannot tell sessions.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0
    empty: int = 0
    fallbacks: int = 0
    sessions: int = 0
    sessions_failed: int = 0
    sessions_slow: int = 0
    sessions_empty: int = 0
    sessions_fallback: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """What one release answered to one request, as its program recorded it.

    `length` in the words or tokens that the program counts, `log_probability` the mean over them
    in nats (NaN where the program tells none), `text_hash` names the answer without showing it.
    """

    empty: bool = False
    looping: bool = False
    fallback: bool = False
    length: int = 0
    log_probability: float = math.nan
    latency_ms: float = 0.0
    text_hash: str = ""
    error: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """One mirrored request, answered by both releases; `at` in seconds since 1970."""

    request: str
    session: str
    at: float
    baseline: Output
    candidate: Output

    def swapped(self) -> Pair:
        """The same, the answers with each other's names."""
        return Pair(self.request, self.session, self.at, self.candidate, self.baseline)


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
        """Totals by release; `slow_ms` is one of SLOW_LIMITS_MS.

        Raises RetryableEngineError when the counters cannot be had in time.
        """

    def pairs(  # A world without records has none.
        self,
        model: str,  # noqa: ARG002
        baseline: int,  # noqa: ARG002
        candidate: int,  # noqa: ARG002
        after: float,  # noqa: ARG002
    ) -> tuple[Pair, ...]:
        """Mirrored requests that both releases answered since `after`, the oldest first.

        Empty where the world keeps no records. Raises RetryableEngineError when they cannot be
        read in time.
        """
        return ()
