"""Answers of two releases to the same inputs, as counts that a journal can hold.

The unit is the session: its pairs are averaged to one value, and it is counted once in a case.
No text is kept, and from the counts every decision can be made again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from canary.pairs import BAD, SIGNALS, session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from canary.pairs import Values
    from canary.ports import Output, Pair

UNSURE = "unsure"
"""An answer whose mean log-probability is under a floor that was fixed beforehand."""

DRIFT_SIGNALS = (*SIGNALS, UNSURE)


@dataclass(frozen=True, slots=True)
class PairBlock:
    """Pairs of sessions that were not counted before, added up.

    `differences` are sessions' shares of such outputs by the current release less those by the
    previous one, -1 to 1, by signal; `previous` and `current` are their shares of bad outputs, 0 to
    1. `outputs` are bad outputs of (previous, current) by signal.
    """

    pairs: int = 0
    sessions: int = 0
    until: float = 0.0
    """When the last of them came, UTC epoch seconds."""
    differences: Mapping[str, Values] = field(default_factory=dict)
    previous: Values = ()
    current: Values = ()
    outputs: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A value for the journal."""
        return {
            "pairs": self.pairs,
            "sessions": self.sessions,
            "until": self.until,
            "differences": {name: _listed(seen) for name, seen in self.differences.items()},
            "previous": _listed(self.previous),
            "current": _listed(self.current),
            "outputs": {name: list(both) for name, both in self.outputs.items()},
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> PairBlock:
        """Undo `to_json`."""
        return cls(
            pairs=body["pairs"],
            sessions=body["sessions"],
            until=body["until"],
            differences={name: _read(seen) for name, seen in body["differences"].items()},
            previous=_read(body["previous"]),
            current=_read(body["current"]),
            outputs={name: (both[0], both[1]) for name, both in body["outputs"].items()},
        )


def count_block(
    pairs: Iterable[Pair], *, known: Container[str] = (), unsure_under: float | None = None
) -> PairBlock:
    """Add up the pairs whose session is not `known`.

    A pair's `baseline` is the previous release's answer, its `candidate` the current one's.
    `unsure_under` is the floor of `UNSURE` in nats a token; None leaves that signal out.
    """
    sessions: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if session_of(pair) not in known:
            sessions[session_of(pair)].append(pair)
    groups = tuple(sessions.values())
    signals = _signals(unsure_under)
    return PairBlock(
        pairs=sum(map(len, groups)),
        sessions=len(groups),
        until=max((pair.at for group in groups for pair in group), default=0.0),
        differences={name: _differences(groups, bad) for name, bad in signals.items()},
        previous=_shares(groups, lambda pair: SIGNALS[BAD](pair.baseline)),
        current=_shares(groups, lambda pair: SIGNALS[BAD](pair.candidate)),
        outputs={name: _outputs(groups, bad) for name, bad in signals.items()},
    )


def _signals(unsure_under: float | None) -> Mapping[str, Callable[[Output], bool]]:
    if unsure_under is None:
        return SIGNALS
    floor = unsure_under  # NaN, where a program tells no probability, is never under it
    return {**SIGNALS, UNSURE: lambda output: output.log_probability < floor}


def _differences(groups: Iterable[list[Pair]], bad: Callable[[Output], bool]) -> Values:
    return _values(
        Fraction(sum(bad(pair.candidate) - bad(pair.baseline) for pair in group), len(group))
        for group in groups
    )


def _shares(groups: Iterable[list[Pair]], bad: Callable[[Pair], bool]) -> Values:
    return _values(Fraction(sum(map(bad, group)), len(group)) for group in groups)


def _outputs(groups: Iterable[list[Pair]], bad: Callable[[Output], bool]) -> tuple[int, int]:
    pairs = [pair for group in groups for pair in group]
    return sum(bad(pair.baseline) for pair in pairs), sum(bad(pair.candidate) for pair in pairs)


def _values(means: Iterable[Fraction]) -> Values:
    counted = sorted(Counter(means).items())
    return tuple((mean.numerator, mean.denominator, count) for mean, count in counted)


def _listed(values: Values) -> list[list[int]]:
    return [list(one) for one in values]


def _read(values: list[list[int]]) -> Values:
    return tuple((above, below, count) for above, below, count in values)
