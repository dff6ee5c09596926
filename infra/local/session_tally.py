"""Counts distinct sessions by the release that answered them, in memory that stays flat.

One tally is of one model's current epoch, the time at one set of weights. A session that failed in
an earlier epoch of the same comparison is left out: its failure was counted, and what it does next
is not independent of it. Above `MOST_SESSIONS` a tally keeps every second session, chosen by its
hash and so without regard to what it met, which is as fair a sample of both arms as all of them.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from canary.ports import SLOW_LIMITS_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

MOST_SESSIONS = 1 << 18
"""Sessions that a tally remembers: about 30 MB."""
MOST_FAILED_BEFORE = 1 << 16
_BUCKETS = len(SLOW_LIMITS_MS) + 1
_SPREAD, _WORD = 0x9E3779B97F4A7C15, (1 << 64) - 1
_FAILED, _BUCKET = 1 << 5, (1 << 5) - 1


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as the router saw it.

    `series` and `epoch` are the numbers of the comparison and of its current weights, `session` a
    64-bit hash, None where the request named none, `ms` None when no whole answer came.
    """

    series: int
    epoch: int
    session: int | None
    release: int
    failed: bool
    ms: int | None


@dataclass(slots=True)
class Arm:
    """One release's sessions: those seen, those that failed, and the slowest answer of each."""

    sessions: int = 0
    failed: int = 0
    slowest: list[int] = field(default_factory=lambda: [0] * _BUCKETS)

    def slow(self, slow_ms: int) -> int:
        """Sessions with an answer of `slow_ms` or more, one of SLOW_LIMITS_MS."""
        return sum(self.slowest[SLOW_LIMITS_MS.index(slow_ms) + 1 :])

    def add(self, packed: int, count: int = 1) -> None:
        """Count sessions that are as `packed` says."""
        self.sessions += count
        self.failed += count * bool(packed & _FAILED)
        self.slowest[packed & _BUCKET] += count


class SessionTally:
    """The sessions of one model in one epoch."""

    def __init__(self, series: int = 0, epoch: int = 0) -> None:
        self.series, self.epoch = series, epoch
        self.complete = True
        """Whether every answer of the epoch was seen, as far as anybody can tell."""
        self._halvings = 0
        self._known: dict[int, int] = {}
        self._arms: dict[int, Arm] = {}
        self._failed_before: set[int] = set()

    def arms(self) -> Mapping[int, Arm]:
        """Counts by release; none when the epoch is not complete."""
        return self._arms if self.complete else {}

    def note(self, answer: Answer) -> None:
        """Count an answer. One of an earlier epoch came late and changes nothing."""
        if answer.epoch < self.epoch:
            return
        if answer.epoch > self.epoch:
            self._begin(answer.series, answer.epoch)
        slowest = 0 if answer.ms is None else bisect_right(SLOW_LIMITS_MS, answer.ms)
        now = answer.release << 6 | answer.failed * _FAILED | slowest
        if answer.session is None:
            self._arm(answer.release).add(now)
        elif answer.session not in self._failed_before and self._samples(answer.session):
            self._note_session(answer.session, now)

    def _note_session(self, session: int, now: int) -> None:
        before = self._known.get(session)
        if before is not None:
            if before >> 6 != now >> 6:
                return  # Sessions stick to a side, so this is another session of the same hash.
            self._arm(before >> 6).add(before, -1)
            now = before & ~_BUCKET | now & _FAILED | max(before & _BUCKET, now & _BUCKET)
        self._known[session] = now
        self._arm(now >> 6).add(now)
        if len(self._known) > MOST_SESSIONS:
            self._halve()

    def _begin(self, series: int, epoch: int) -> None:
        failed = {session for session, packed in self._known.items() if packed & _FAILED}
        kept = self._failed_before if len(self._failed_before) < MOST_FAILED_BEFORE else set()
        self._failed_before = kept | failed if series == self.series else set()
        self.series, self.epoch, self.complete = series, epoch, True
        self._halvings, self._known, self._arms = 0, {}, {}

    def _samples(self, session: int) -> bool:
        return (session * _SPREAD & _WORD) >> (64 - self._halvings) == 0

    def _halve(self) -> None:
        """Forget every second session; what counters fall to is a new beginning for both arms."""
        self._halvings += 1
        self._known = {key: packed for key, packed in self._known.items() if self._samples(key)}
        self._arms = {}
        for packed in self._known.values():
            self._arm(packed >> 6).add(packed)

    def _arm(self, release: int) -> Arm:
        return self._arms.setdefault(release, Arm())

    # For a snapshot

    def header(self) -> dict[str, Any]:
        """All but the sessions themselves, as JSON."""
        arms = {
            str(release): [arm.sessions, arm.failed, arm.slowest]
            for release, arm in sorted(self._arms.items())
        }
        return {
            "series": self.series,
            "epoch": self.epoch,
            "complete": self.complete,
            "halvings": self._halvings,
            "arms": arms,
        }

    def arrays(self) -> Iterator[tuple[str, NDArray[np.uint64]]]:
        """The sessions: hashes [S], what is known of each [S], hashes that failed before [F]."""
        yield "known", np.fromiter(self._known.keys(), np.uint64)
        yield "packed", np.fromiter(self._known.values(), np.uint64)
        yield "failed_before", np.fromiter(self._failed_before, np.uint64)

    @classmethod
    def restored(
        cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.uint64]]
    ) -> SessionTally:
        """Undo `header` and `arrays`."""
        tally = cls(header["series"], header["epoch"])
        tally.complete, tally._halvings = header["complete"], header["halvings"]
        tally._arms = {int(release): Arm(*arm) for release, arm in header["arms"].items()}
        known, packed = arrays["known"].tolist(), arrays["packed"].tolist()
        tally._known = dict(zip(known, packed, strict=True))
        tally._failed_before = set(arrays["failed_before"].tolist())
        return tally
