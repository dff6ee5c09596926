"""Requests that two releases answered both, the current one worse: found in the log, worst first.

For a person to read beside the attribution's verdict, which counts all pairs and is made elsewhere.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 12
_SIGNALS = ("error", "empty", "looping", "fallback")
"""Bad by themselves, in the order in which they are told."""
_WORDS = {"error": "error", "empty": "empty", "looping": "looping", "fallback": "cut short"}
_TEXT = "text"
"""A log that holds answers has them in this column."""
_READ = ("request", "session", "at", "release", "average_log_probability", *_SIGNALS, _TEXT)


@dataclass(frozen=True, slots=True)
class PairedAnswer:
    """One release's answer, as its program recorded it."""

    release: int
    bad: tuple[str, ...]
    """What is wrong with it, in words; empty where nothing is."""
    log_probability: float
    """Mean over the tokens, nats; NaN where nobody told."""
    text: str | None
    """None where the log holds no texts."""


@dataclass(frozen=True, slots=True)
class WorstPair:
    """The two answers to one request; `at` in UTC epoch seconds."""

    request: str
    session: str
    at: float
    previous: PairedAnswer
    current: PairedAnswer

    @property
    def drop(self) -> float:
        """By how many nats a token the current release is less sure; NaN where nobody told."""
        return self.previous.log_probability - self.current.log_probability


def worst_pairs(
    records: pa.Table, current: int, previous: int | None = None, most: int = SHOWN
) -> tuple[tuple[WorstPair, ...], int]:
    """The worst of the requests that `current` and `previous` answered both.

    `records` hold mirrored copies too. Where nobody says which release is the previous one, it is
    the lower-numbered one that shares most requests with `current`. First come requests that only
    the current release answered badly, then those that it is less sure of by most; those that it
    answered as well are left out.
    Returns them, at most one a session, and how many pairs there were.
    """
    ours = records.filter(pc.equal(records.column("release"), current))
    other = (
        pc.less(records.column("release"), current)
        if previous is None
        else pc.equal(records.column("release"), previous)
    )
    theirs = records.filter(other)
    theirs = theirs.filter(pc.is_in(theirs.column("request"), ours.column("request")))
    if not theirs.num_rows:
        return (), 0
    shared = Counter(theirs.column("release").to_pylist())
    earlier = max(shared, key=lambda release: (shared[release], release))
    theirs = theirs.filter(pc.equal(theirs.column("release"), earlier))
    ours = ours.filter(pc.is_in(ours.column("request"), theirs.column("request")))
    answered, copied = _by_request(ours), _by_request(theirs)
    found = [_pair(copied[request], row) for request, row in answered.items()]
    worse = sorted((pair for pair in found if _harm(pair) > (0, 0.0)), key=_order)
    by_session: dict[str, WorstPair] = {}
    for pair in worse:
        by_session.setdefault(pair.session or pair.request, pair)
    return tuple(by_session.values())[:most], len(found)


def _by_request(records: pa.Table) -> dict[str, dict[str, Any]]:
    names = [name for name in _READ if name in records.column_names]
    rows = records.select(names).to_pylist()
    return {row["request"]: row for row in rows if row["request"] is not None}


def _pair(previous: dict[str, Any], current: dict[str, Any]) -> WorstPair:
    return WorstPair(
        request=current["request"],
        session=current.get("session") or "",
        at=current["at"].timestamp(),
        previous=_answer(previous),
        current=_answer(current),
    )


def _answer(row: dict[str, Any]) -> PairedAnswer:
    told = row.get("average_log_probability")
    return PairedAnswer(
        release=row["release"],
        bad=tuple(_WORDS[name] for name in _SIGNALS if row.get(name) not in {None, False, ""}),
        log_probability=math.nan if told is None else float(told),
        text=row.get(_TEXT),
    )


def _harm(pair: WorstPair) -> tuple[int, float]:
    """How much worse the current answer is: in signals, then in nats."""
    drop = pair.drop if math.isfinite(pair.drop) else 0.0
    return len(pair.current.bad) - len(pair.previous.bad), drop


def _order(pair: WorstPair) -> tuple[int, float, str]:
    signals, drop = _harm(pair)
    return -signals, -drop, pair.request
