"""Observations of the world, and the blocks of traffic that the tests are fed with.

Counters are totals since the router started; a block is what both arms gained between two
observations. Where a block ends is decided by request counts alone, which the proof in
`canary.evidence` asks for. Nothing here knows a plan or a phase.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from canary.evidence import Stratum
from canary.ports import ArmCounters, RevisionState, RevisionStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_BLOCK_REQUESTS = 10
"""Requests of each arm that a block has at least.

A candidate's event raises its own block's measured share, so tiny blocks bet too little: a block
of one request says nothing at all. From 5 to 20 the simulation finds the same median.
"""

BLOCK_GROWTH = 0.05
"""A block has at least this part of the candidate's requests so far, so a long rollout writes
hundreds of entries and not hundreds of thousands, and finds harm at most 5 % later."""

MAX_BLOCK_S = 2.0
"""After this time the least block is enough."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one model at `at`.

    `counters` is None when they could not be had; `blind` then says why.
    """

    at: float
    revisions: Mapping[int, RevisionStatus]
    counters: Mapping[int, ArmCounters] | None = None
    blind: str = ""

    def state_of(self, release: int) -> RevisionState | None:
        """The state seen, None when the release was not looked at or could not be seen."""
        status = self.revisions.get(release)
        return None if status is None else status.state

    def counters_of(self, release: int) -> ArmCounters:
        """Totals of a release; one that never answered has none."""
        return (self.counters or {}).get(release, ArmCounters())

    def to_json(self) -> dict[str, Any]:
        """A value for the journal."""
        counters = self.counters
        return {
            "at": self.at,
            "blind": self.blind,
            "revisions": {
                str(release): [status.state.value, status.detail, status.restarts]
                for release, status in sorted(self.revisions.items())
            },
            "counters": counters
            and {
                str(release): [arm.requests, arm.errors, arm.slow]
                for release, arm in sorted(counters.items())
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Observation:
        """Undo `to_json`."""
        counters = value["counters"]
        return cls(
            at=value["at"],
            blind=value["blind"],
            revisions={
                int(release): RevisionStatus(RevisionState(state), detail, restarts)
                for release, (state, detail, restarts) in value["revisions"].items()
            },
            counters=None
            if counters is None
            else {int(release): ArmCounters(*arm) for release, arm in counters.items()},
        )


@dataclass(frozen=True, slots=True)
class Block:
    """What the candidate and the baseline answered between two observations."""

    candidate: ArmCounters = field(default_factory=ArmCounters)
    baseline: ArmCounters = field(default_factory=ArmCounters)

    @property
    def share(self) -> float:
        """The measured share of the candidate's requests, 0 for an empty block."""
        requests = self.candidate.requests + self.baseline.requests
        return self.candidate.requests / requests if requests else 0.0

    @property
    def errors(self) -> Stratum:
        """Errors of both arms."""
        events = self.candidate.errors
        return Stratum(events, events + self.baseline.errors, self.share)

    @property
    def slow(self) -> Stratum:
        """Slow answers of both arms."""
        events = self.candidate.slow
        return Stratum(events, events + self.baseline.slow, self.share)

    def complete(self, *, compared: bool, seen: int, seconds: float) -> bool:
        """Whether it is large enough to be counted, by request counts and the clock alone.

        `compared`: both arms get traffic. `seen`: the candidate's requests in earlier blocks.
        `seconds`: how long the block has been open.
        """
        enough = self.candidate.requests >= MIN_BLOCK_REQUESTS
        if compared:
            enough = enough and self.baseline.requests >= MIN_BLOCK_REQUESTS
        grown = self.candidate.requests >= BLOCK_GROWTH * seen
        return enough and (grown or seconds >= MAX_BLOCK_S)

    def __add__(self, other: Block) -> Block:
        return Block(
            _sum(self.candidate, other.candidate),
            _sum(self.baseline, other.baseline),
        )


def gained(before: ArmCounters, now: ArmCounters) -> ArmCounters | None:
    """What an arm gained, or None when its counters began again.

    A router that restarted counts from zero, so a total shrinks, or more events than requests
    seem to have come. What was counted in between is lost for every metric alike, so leaving the
    interval out favours neither arm.
    """
    requests = now.requests - before.requests
    errors = now.errors - before.errors
    slow = now.slow - before.slow
    if min(requests, errors, slow) < 0 or max(errors, slow) > requests:
        return None
    return ArmCounters(requests, errors, slow)


def _sum(one: ArmCounters, other: ArmCounters) -> ArmCounters:
    return ArmCounters(
        one.requests + other.requests, one.errors + other.errors, one.slow + other.slow
    )
