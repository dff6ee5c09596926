"""Observations of the world, and the blocks of traffic that the tests are fed with.

Counters are totals since the router started; a block is what both arms gained between two
observations. Where a block ends is decided by request counts alone, which the proof in
`canary.evidence` asks for. Nothing here knows a plan or a phase.

The unit of a block is the session where the router tells sessions, and the request where it does
not. Of sessions those are compared that were at risk in the block: seen in the epoch until its
end, and not failed before its beginning.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from canary.evidence import Stratum
from canary.pairs import PairCounts
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

BLOCK_OF_HELD, LONGEST_BLOCK_S = 0.001, 60.0
"""In a step that is held for hours it grows to this part of the time held so far, a minute at the
most: a day at one weight writes some 5,000 entries instead of 43,000."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one model at `at`.

    `counters` is None when they could not be had; `blind` then says why.
    """

    at: float
    revisions: Mapping[int, RevisionStatus]
    counters: Mapping[int, ArmCounters] | None = None
    blind: str = ""
    pairs: PairCounts | None = None
    """Requests that both releases answered and that no block has counted; None when not looked."""

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
        pairs = {} if self.pairs is None else {"pairs": self.pairs.to_json()}
        return {
            **pairs,
            "at": self.at,
            "blind": self.blind,
            "revisions": {
                str(release): [
                    *(status.state.value, status.detail, status.restarts),
                    *([status.memory_bytes] if status.memory_bytes else []),
                ]
                for release, status in sorted(self.revisions.items())
            },
            "counters": counters
            and {str(release): _short(arm) for release, arm in sorted(counters.items())},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Observation:
        """Undo `to_json`."""
        counters, pairs = value["counters"], value.get("pairs")
        return cls(
            pairs=None if pairs is None else PairCounts.from_json(pairs),
            at=value["at"],
            blind=value["blind"],
            revisions={
                int(release): RevisionStatus(
                    RevisionState(state), detail, restarts, memory_bytes=sum(memory)
                )
                for release, (state, detail, restarts, *memory) in value["revisions"].items()
            },
            counters=None
            if counters is None
            else {int(release): ArmCounters(*arm) for release, arm in counters.items()},
        )


@dataclass(frozen=True, slots=True)
class Block:
    """What the candidate and the baseline answered between two observations.

    The arms' own fields are what they gained; `candidate_before` and `baseline_before` are their
    totals when the block began, of which the sessions are needed.
    """

    candidate: ArmCounters = field(default_factory=ArmCounters)
    baseline: ArmCounters = field(default_factory=ArmCounters)
    candidate_before: ArmCounters = field(default_factory=ArmCounters)
    baseline_before: ArmCounters = field(default_factory=ArmCounters)

    @property
    def share(self) -> float:
        """The measured share of the candidate's requests, 0 for an empty block."""
        return _share(self.candidate.requests, self.baseline.requests)

    @property
    def tells_sessions(self) -> bool:
        """Whether sessions are the unit."""
        gains, before = (
            (self.candidate, self.baseline),
            (self.candidate_before, self.baseline_before),
        )
        return any(arm.sessions > 0 for arm in (*gains, *before))

    @property
    def errors(self) -> Stratum:
        """Requests that failed, or sessions that failed for the first time, of both arms."""
        if self.tells_sessions:
            return self._of_sessions("sessions_failed")
        return self._of_requests("errors")

    @property
    def slow(self) -> Stratum:
        """Slow answers, or sessions with a first slow answer, of both arms."""
        if self.tells_sessions:
            return self._of_sessions("sessions_slow")
        return self._of_requests("slow")

    @property
    def empty(self) -> Stratum:
        """Empty answers, or sessions with a first empty answer, of both arms."""
        if self.tells_sessions:
            return self._of_sessions("sessions_empty")
        return self._of_requests("empty")

    @property
    def fallbacks(self) -> Stratum:
        """Answers by the fallback, or sessions with a first one, of both arms."""
        if self.tells_sessions:
            return self._of_sessions("sessions_fallback")
        return self._of_requests("fallbacks")

    def _of_requests(self, event: str) -> Stratum:
        candidate, baseline = getattr(self.candidate, event), getattr(self.baseline, event)
        return Stratum(candidate, candidate + baseline, self.share)

    def _of_sessions(self, event: str) -> Stratum:
        candidate, baseline = getattr(self.candidate, event), getattr(self.baseline, event)
        share = _share(
            _at_risk(self.candidate_before, self.candidate, event),
            _at_risk(self.baseline_before, self.baseline, event),
        )
        return Stratum(candidate, candidate + baseline, share)

    def complete(self, *, compared: bool, seen: int, seconds: float, held: float = 0.0) -> bool:
        """Whether it is large enough to be counted, by request counts and the clock alone.

        `compared`: both arms get traffic. `seen`: the candidate's requests in earlier blocks.
        `seconds`: how long the block has been open, `held` how long its step had been held then.
        """
        enough = self.candidate.requests >= MIN_BLOCK_REQUESTS
        if compared:
            enough = enough and self.baseline.requests >= MIN_BLOCK_REQUESTS
        grown = self.candidate.requests >= BLOCK_GROWTH * seen
        longest = min(max(MAX_BLOCK_S, held * BLOCK_OF_HELD), LONGEST_BLOCK_S)
        return enough and (grown or seconds >= longest)

    def __add__(self, other: Block) -> Block:
        return Block(
            _sum(self.candidate, other.candidate),
            _sum(self.baseline, other.baseline),
            self.candidate_before,
            self.baseline_before,
        )


def gained(before: ArmCounters, now: ArmCounters) -> ArmCounters | None:
    """What an arm gained, or None when its counters began again.

    A router that restarted counts from zero, as sessions do with each epoch, so a total shrinks, or
    more events than units seem to have come. What was counted in between is lost for every metric
    alike, so leaving the interval out favours neither arm.
    """
    more = ArmCounters(*(new - old for old, new in zip(_counts(before), _counts(now), strict=True)))
    # A program tells of its answers later than the router. Sessions at risk bridge that.
    late = () if now.sessions else (more.empty, more.fallbacks)
    if min(_counts(more)) < 0 or max(more.errors, more.slow, *late) > more.requests:
        return None
    for event in _SESSION_EVENTS:
        if getattr(more, event) > _at_risk(before, more, event):
            return None
    return more


def _at_risk(before: ArmCounters, more: ArmCounters, event: str) -> int:
    """Sessions seen until the block's end in which the event had not come before it began."""
    return before.sessions - int(getattr(before, event)) + more.sessions


def _share(candidate: int, baseline: int) -> float:
    return candidate / (candidate + baseline) if candidate + baseline else 0.0


def _sum(one: ArmCounters, other: ArmCounters) -> ArmCounters:
    return ArmCounters(*(a + b for a, b in zip(_counts(one), _counts(other), strict=True)))


def _short(arm: ArmCounters) -> list[int]:
    """The counters in their order, without the zeros at the end."""
    values = list(_counts(arm))
    while len(values) > _ALWAYS and not values[-1]:
        values.pop()
    return values


_counts = attrgetter(*(counter.name for counter in fields(ArmCounters)))
"""All counters in their order; `dataclasses.astuple` would copy each of them."""
_ALWAYS = 3
_SESSION_EVENTS = ("sessions_failed", "sessions_slow", "sessions_empty", "sessions_fallback")
