"""Pairs: one input answered by both releases, and what the differences between them say.

In a shadow step the candidate answers copies of what the baseline answers, so each request says
how both do on the same input. What both get wrong cancels, which is why pairs find harm with
fewer requests than two arms do, and before anybody was harmed.

**The unit is the session.** The pairs of one session are averaged to one value, and a session is
counted once in a rollout, in the block in which it is first seen: requests of one session fail
together, and a session that comes again would be counted as news. Where a block ends is decided by
how many sessions came and by the clock, never by what they got.

**One budget for all signals.** A weighted mean of e-processes is one too. Half of the wealth is
bet on "any bad output", the rest on the signals one by one, and alpha is spent once. Nothing here
keeps a text: a journal holds counts, from which every decision can be made again.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from canary.ports import Output, Pair

BAD = "bad"
"""Any of the other signals."""

DISAGREEMENT = "disagreement"
"""Another text than the baseline's, where both gave one: no harm by itself."""

SIGNALS: Mapping[str, Callable[[Output], bool]] = {
    BAD: lambda output: output.error or output.empty or output.looping or output.fallback,
    "errors": lambda output: output.error,
    "empty": lambda output: output.empty,
    "looping": lambda output: output.looping,
    "fallbacks": lambda output: output.fallback,
}
"""What makes an output bad: indicators that need no label."""

MIN_BLOCK_SESSIONS = 10
BLOCK_GROWTH = 0.05
"""A block of pairs has at least this part of the sessions so far, so a long step writes few entries
and finds harm at most 5 % later."""
MAX_BLOCK_S = 2.0
"""After this time the least block is enough."""

Values = tuple[tuple[int, int, int], ...]
"""A session's mean as numerator and denominator, and how many sessions had it."""


def is_block(sessions: int, *, seen: int, seconds: float) -> bool:
    """Whether so many new sessions are a block after `seen` ones and `seconds` since the last."""
    grown = sessions >= BLOCK_GROWTH * seen
    return sessions >= MIN_BLOCK_SESSIONS and (grown or seconds >= MAX_BLOCK_S)


def session_of(pair: Pair) -> str:
    """The unit that a pair belongs to; a request without a session is one of its own."""
    return pair.session or f"request {pair.request}"


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Pairs of sessions that were not seen before, added up; `until` is when the last one came.

    `outputs` are bad outputs of the baseline and the candidate, by signal. The rest are sums, each
    with the number that it is a sum of: shares of other texts (of sessions), `log_probability_drop`
    (of pairs, nats) and `latency_ms` (of pairs, candidate less baseline).
    """

    pairs: int = 0
    sessions: int = 0
    until: float = 0.0
    values: Mapping[str, Values] = field(default_factory=dict)
    outputs: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    disagreement: tuple[float, int] = (0.0, 0)
    log_probability_drop: tuple[float, int] = (0.0, 0)
    latency_ms: tuple[float, int] = (0.0, 0)

    def complete(self, *, seen: int, seconds: float) -> bool:
        """Whether they are enough to be counted, by sessions and the clock alone."""
        return is_block(self.sessions, seen=seen, seconds=seconds)

    def to_json(self) -> dict[str, Any]:
        """A value for the journal."""
        return {
            "pairs": self.pairs,
            "sessions": self.sessions,
            "until": self.until,
            "values": {name: [list(one) for one in seen] for name, seen in self.values.items()},
            "outputs": {name: list(both) for name, both in self.outputs.items()},
            "disagreement": list(self.disagreement),
            "log_probability_drop": list(self.log_probability_drop),
            "latency_ms": list(self.latency_ms),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PairCounts:
        """Undo `to_json`."""
        return cls(
            pairs=value["pairs"],
            sessions=value["sessions"],
            until=value["until"],
            values={
                name: tuple((above, below, count) for above, below, count in seen)
                for name, seen in value["values"].items()
            },
            outputs={name: (both[0], both[1]) for name, both in value["outputs"].items()},
            disagreement=_sum_of(value["disagreement"]),
            log_probability_drop=_sum_of(value["log_probability_drop"]),
            latency_ms=_sum_of(value["latency_ms"]),
        )

    def __add__(self, other: PairCounts) -> PairCounts:
        """Both, less the values of single sessions, which nobody needs once they were counted."""
        return PairCounts(
            pairs=self.pairs + other.pairs,
            sessions=self.sessions + other.sessions,
            until=max(self.until, other.until),
            outputs={
                name: _added(self.outputs.get(name, (0, 0)), both)
                for name, both in other.outputs.items()
            },
            disagreement=_added(self.disagreement, other.disagreement),
            log_probability_drop=_added(self.log_probability_drop, other.log_probability_drop),
            latency_ms=_added(self.latency_ms, other.latency_ms),
        )


Number = TypeVar("Number", int, float)


def _added(one: tuple[Number, int], other: tuple[Number, int]) -> tuple[Number, int]:
    return one[0] + other[0], one[1] + other[1]


def _sum_of(value: list[Any]) -> tuple[float, int]:
    return float(value[0]), int(value[1])


def count_pairs(pairs: Iterable[Pair], known: Container[str] = ()) -> PairCounts:
    """The counts of all pairs whose session is not `known`."""
    sessions: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if session_of(pair) not in known:
            sessions[session_of(pair)].append(pair)
    news = [pair for one in sessions.values() for pair in one]
    disagreements = _disagreements(sessions.values())
    drops = [pair.baseline.log_probability - pair.candidate.log_probability for pair in news]
    answered = [pair for pair in news if not (pair.baseline.error or pair.candidate.error)]
    slower = [pair.candidate.latency_ms - pair.baseline.latency_ms for pair in answered]
    return PairCounts(
        pairs=len(news),
        sessions=len(sessions),
        until=max((pair.at for pair in news), default=0.0),
        values={
            **{name: _differences(sessions.values(), bad) for name, bad in SIGNALS.items()},
            DISAGREEMENT: _values(disagreements),
        },
        outputs={
            name: (sum(bad(pair.baseline) for pair in news), sum(bad(p.candidate) for p in news))
            for name, bad in SIGNALS.items()
        },
        disagreement=_rounded(map(float, disagreements)),
        log_probability_drop=_rounded(filter(math.isfinite, drops)),
        latency_ms=_rounded(filter(math.isfinite, slower)),
    )


def _differences(sessions: Iterable[list[Pair]], bad: Callable[[Output], bool]) -> Values:
    return _values(
        Fraction(sum(bad(pair.candidate) - bad(pair.baseline) for pair in pairs), len(pairs))
        for pairs in sessions
    )


def _disagreements(sessions: Iterable[list[Pair]]) -> list[Fraction]:
    """Each session's share of other texts, where both releases gave one."""
    means = []
    for pairs in sessions:
        texts = [
            pair.baseline.text_hash != pair.candidate.text_hash
            for pair in pairs
            if not (pair.baseline.error or pair.candidate.error)
        ]
        if texts:
            means.append(Fraction(sum(texts), len(texts)))
    return means


def _values(means: Iterable[Fraction]) -> Values:
    counted = sorted(Counter(means).items())
    return tuple((mean.numerator, mean.denominator, count) for mean, count in counted)


def _rounded(values: Iterable[float]) -> tuple[float, int]:
    kept = list(values)
    return round(math.fsum(kept), 6), len(kept)
