"""Counts what programs say of their answers, from the prediction log's files.

A server writes a file a second and one release before the other, so what is told here comes later
than what the router counts, never earlier. Each file is read once, a bounded number at a look and
the oldest first: what was left comes with the next one. Damaged files are left out, and so are
those of programs that do not say which requests were copies.

Only what the weights sent counts: no copy, no request that named its release, and none without a
name (the HTTP generate extension hands none on). A refused request is an error and nothing else.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

EVENTS = ("empty", "fallback")
MOST_FILES = 200
"""Files that one look reads of one model, in some tenths of a second."""
MOST_SESSIONS = 1 << 18
"""Sessions with an event that are remembered: about 30 MB. Further ones count on neither side."""
LATE_S = 60.0
"""The longest that a file appears after the end of its hour."""
_HOUR_S = 3600
_PART = re.compile(r"part-.*\.parquet")
_COLUMNS = ("at", "latency_ms", "session", "request", "shadow", "pinned", "error", *EVENTS)


def _none() -> dict[str, int]:
    return dict.fromkeys(EVENTS, 0)


@dataclass(slots=True)
class Told:
    """Counts by event: of requests since the reader's first look, of sessions in the epoch."""

    requests: dict[str, int] = field(default_factory=_none)
    sessions: dict[str, int] = field(default_factory=_none)


@dataclass(slots=True)
class _Answer:
    """One request with an event; times in seconds since 1970."""

    at: float
    began: float
    unit: bytes
    events: set[str] = field(default_factory=set)


class AnswerTally:
    """The answers in the prediction log below `root`, model by model."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._root, self._clock = root, clock
        self._models: dict[str, _Model] = {}

    def read(self, model: str, epoch: str = "") -> Mapping[int, Told]:
        """What each release's program has told by now.

        `epoch` is the route's label, the numbers of the comparison and of its weights in
        milliseconds since 1970, such as `3-5`; without one no sessions are told.
        """
        known = self._models.get(model)
        if known is None:
            known = _Model(self._root / f"model={model}", self._clock())
            self._models[model] = known
        known.enter(epoch)
        known.catch_up(self._clock())
        return known.told


class _Model:
    """What one model's files told since `since`, and in the comparison under way."""

    def __init__(self, folder: Path, since: float) -> None:
        self.told: dict[int, Told] = {}
        self._folder, self._since = folder, since
        self._label = ""
        self._series = self._epoch = 0.0
        self._had: dict[str, set[bytes]] = {event: set() for event in EVENTS}
        self._seen: dict[Path, set[str]] = {}
        """Names of the files that were looked at, by the hour's folder, while more may come."""
        self._closed: set[Path] = set()

    def enter(self, label: str) -> None:
        """Begin a new epoch where there is one; of another comparison nothing is remembered."""
        if label == self._label:
            return
        series, _, epoch = label.partition("-")
        if series != self._label.partition("-")[0]:
            self._had = {event: set() for event in EVENTS}
        self._label = label
        self._series, self._epoch = int(series or 0) / 1000, int(epoch or 0) / 1000
        for told in self.told.values():
            told.sessions = _none()

    def catch_up(self, now: float) -> None:
        """Count what is new."""
        earliest = min(self._since, self._series or self._since)
        read = 0
        for path, release in self._unseen(earliest, now):
            self._seen[path.parent].add(path.name)
            if _appeared(path) < earliest:
                continue
            for answer in _answers(path):
                self._note(self.told.setdefault(release, Told()), answer)
            read += 1
            if read == MOST_FILES:
                return

    def _note(self, told: Told, answer: _Answer) -> None:
        for event in answer.events:
            told.requests[event] += answer.at >= self._since
            had = self._had[event]
            # A session counts once in a comparison, for its first such answer.
            if self._label and answer.began >= self._series and answer.unit not in had:
                if len(had) >= MOST_SESSIONS:
                    continue
                had.add(answer.unit)
                told.sessions[event] += answer.began >= self._epoch

    def _unseen(self, earliest: float, now: float) -> Iterator[tuple[Path, int]]:
        """Files that nobody looked at, and their release, the hours in order."""
        releases = sorted(
            (int(path.name.removeprefix("release=")), path)
            for path in self._folder.glob("release=*")
            if path.name.removeprefix("release=").isdigit()
        )
        for hour in range(int(earliest // _HOUR_S), int(now // _HOUR_S) + 1):
            hours = time.strftime("hour=%Y%m%d%H", time.gmtime(hour * _HOUR_S))
            for release, above in releases:
                folder = above / hours
                if folder in self._closed:
                    continue
                seen = self._seen.setdefault(folder, set())
                for name in sorted(_names(folder) - seen):
                    if _PART.fullmatch(name):
                        yield folder / name, release
                if now > (hour + 1) * _HOUR_S + LATE_S:
                    self._closed.add(folder)
                    self._seen.pop(folder, None)


def _names(folder: Path) -> set[str]:
    """Names in a folder, none when it is not there."""
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - thousands, several times a second
    except OSError:
        return set()


def _appeared(path: Path) -> float:
    """When, in seconds since 1970; 0 when it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _answers(path: Path) -> list[_Answer]:
    """The requests of a file that had an event; none of a file that cannot be read."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if not set(_COLUMNS) <= set(file.schema_arrow.names):
                return []
            table = file.read(columns=list(_COLUMNS), use_threads=False)
        counts = pc.and_(pc.is_null(table["error"]), pc.not_equal(table["request"], ""))
        for column in ("shadow", "pinned"):
            counts = pc.and_(counts, pc.invert(pc.fill_null(table[column], fill_value=True)))
        had = pc.or_(*(pc.fill_null(table[event], fill_value=False) for event in EVENTS))
        rows = table.filter(pc.and_(counts, had)).to_pylist()
    except (OSError, pa.ArrowException, KeyError, TypeError):
        return []
    found: dict[str, _Answer] = {}
    for row in rows:
        # One request may hold several rows.
        at, unit = row["at"].timestamp(), (row["session"] or row["request"]).encode()
        began = at - (row["latency_ms"] or 0.0) / 1000
        own = _Answer(at, began, blake2b(unit, digest_size=8).digest())
        found.setdefault(row["request"], own).events.update(one for one in EVENTS if row[one])
    return list(found.values())
