"""What programs say of their answers, counted from the files that servers write."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.local import answer_tally
from infra.local.answer_tally import AnswerTally
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

BEGAN = 1_700_001_600.0  # 40 minutes into an hour of UTC
SERIES = round(BEGAN * 1000)
LABEL = f"{SERIES}-{SERIES}"
Count = tuple[int, int]


@dataclass
class Log:
    """The log of a model, at a time that a test sets."""

    root: Path
    now: float = BEGAN
    parts: int = 0

    def at(self, seconds: float) -> None:
        """Let it be so long after the comparison began."""
        self.now = BEGAN + seconds

    def reader(self) -> AnswerTally:
        """One that looked for the first time now."""
        tally = AnswerTally(self.root, lambda: self.now)
        tally.read("speech", LABEL)
        return tally

    def write(self, release: int, *rows: dict[str, Any], without: str = "") -> Path:
        """A file of `rows` that appears now; each answered now unless it says another time."""
        times = [datetime.fromtimestamp(BEGAN + row["at"], UTC) for row in rows]
        columns: dict[str, list[Any]] = {
            field.name: [row.get(field.name) for row in rows] for field in PREDICTION_SCHEMA
        }
        columns["at"] = times
        self.parts += 1
        hour = f"hour={times[0]:%Y%m%d%H}"
        path = self.root / "model=speech" / f"release={release}" / hour
        path /= f"part-1-{self.parts:04}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table(columns, schema=PREDICTION_SCHEMA)
        pq.write_table(table.drop_columns([without]) if without else table, path)
        os.utime(path, (self.now, self.now))
        return path

    def row(self, request: str, session: str = "", **more: Any) -> dict[str, Any]:
        """An empty answer."""
        own = {"at": self.now - BEGAN, "request": request, "session": session, "empty": True}
        return own | {"shadow": False, "pinned": False, "fallback": False, "latency_ms": 5} | more


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def empties(tally: AnswerTally, label: str = LABEL) -> dict[int, Count]:
    """By release: requests and sessions with an empty answer."""
    found = tally.read("speech", label)
    return {
        release: (told.requests["empty"], told.sessions["empty"])
        for release, told in found.items()
        if told.requests["empty"] or told.sessions["empty"]
    }


def test_requests_and_sessions_are_told_by_release(log: Log) -> None:
    tally = log.reader()
    assert empties(tally) == {}
    log.at(1.0)
    log.write(1, log.row("a", "s"), log.row("b", "s"), log.row("c", empty=False))
    log.write(2, log.row("d"), log.row("e"), log.row("f", "t", empty=False, fallback=True))
    assert empties(tally) == {1: (2, 1), 2: (2, 2)}
    told = tally.read("speech", LABEL)[2]
    assert (told.requests["fallback"], told.sessions["fallback"]) == (1, 1)
    assert empties(tally) == {1: (2, 1), 2: (2, 2)}
    log.write(1, log.row("g", "s"), log.row("h", "u"))
    assert empties(tally) == {1: (4, 2), 2: (2, 2)}


def test_only_what_the_weights_sent_and_was_answered_counts(log: Log) -> None:
    tally = log.reader()
    log.at(1.0)
    left_out: list[dict[str, Any]] = [
        {"shadow": True},
        {"pinned": True},
        {"error": "refused"},
        {"request": ""},
        {"shadow": None},
    ]
    log.write(2, *(log.row(f"r{place}") | one for place, one in enumerate(left_out)))
    log.write(2, log.row("old"), without="shadow")
    assert empties(tally) == {}
    log.write(2, log.row("counts"))
    assert empties(tally) == {2: (1, 1)}


def test_rows_of_one_request_are_one(log: Log) -> None:
    tally = log.reader()
    log.at(1.0)
    log.write(1, *(log.row("a", empty=place > 1) for place in range(5)))
    assert empties(tally) == {1: (1, 1)}


def test_a_session_counts_once_in_a_comparison(log: Log) -> None:
    tally = log.reader()
    log.at(1.0)
    log.write(1, log.row("a", "s"), log.row("b", "t"))
    assert empties(tally) == {1: (2, 2)}
    following = f"{SERIES}-{SERIES + 10_000}"
    log.at(11.0)
    # Answered before the weights changed, and written after it.
    log.write(1, log.row("late", "v", at=9.0))
    log.write(2, log.row("c", "s"), log.row("d", "u"), log.row("e", "v"))
    assert empties(tally, following) == {1: (3, 0), 2: (3, 1)}
    another = f"{SERIES + 20_000}-{SERIES + 20_000}"
    log.at(21.0)
    log.write(2, log.row("f", "s"))
    assert empties(tally, another) == {1: (3, 0), 2: (4, 1)}
    assert empties(tally, "") == {1: (3, 0), 2: (4, 0)}


def test_a_reader_that_begins_later_tells_the_same_sessions(log: Log) -> None:
    log.at(1.0)
    log.write(1, log.row("before", "x", at=-5.0), log.row("a", "s"))
    log.at(4000.0)  # In the hour after the next one.
    log.write(2, log.row("b", "t"))
    later = log.reader()
    assert empties(later) == {1: (0, 1), 2: (1, 1)}
    log.at(4001.0)
    log.write(2, log.row("c", "u"))
    assert empties(later) == {1: (0, 1), 2: (2, 2)}


@pytest.mark.parametrize("content", [b"", b"PAR1 cut off"])
def test_damaged_files_are_left_out_and_the_others_count(log: Log, content: bytes) -> None:
    tally = log.reader()
    log.at(1.0)
    log.write(1, log.row("a")).write_bytes(content)
    log.write(1, log.row("b"))
    assert empties(tally) == {1: (1, 1)}


def test_files_come_late_and_many_and_each_is_read_once(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_tally, "MOST_FILES", 7)
    read: list[Path] = []
    whole = answer_tally._answers

    def reading(path: Path) -> Any:
        read.append(path)
        return whole(path)

    monkeypatch.setattr(answer_tally, "_answers", reading)
    tally = log.reader()
    log.at(1190.0)
    for number in range(20):
        log.write(number % 2 + 1, log.row(f"r{number}"))
    seen = [sum(requests for requests, _ in empties(tally).values()) for _ in range(4)]
    assert seen == [7, 14, 20, 20]
    log.at(1230.0)  # The hour is over.
    log.write(1, log.row("late", at=1195.0))
    assert sum(requests for requests, _ in empties(tally).values()) == 21
    log.at(5000.0)
    assert sum(requests for requests, _ in empties(tally).values()) == 21
    assert len(read) == len(set(read)) == 21
    (known,) = tally._models.values()
    assert all(folder.name == "hour=2023111500" for folder in known._seen)


def test_memory_is_bounded_on_both_sides_alike(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_tally, "MOST_SESSIONS", 5)
    tally = log.reader()
    log.at(1.0)
    log.write(1, *(log.row(f"a{number}") for number in range(3)))
    log.write(2, *(log.row(f"b{number}") for number in range(9)))
    assert empties(tally) == {1: (3, 3), 2: (9, 2)}
    (known,) = tally._models.values()
    assert len(known._had["empty"]) == 5


def test_a_log_that_does_not_exist_tells_nothing(tmp_path: Path) -> None:
    assert AnswerTally(tmp_path / "absent").read("speech", LABEL) == {}


def test_files_that_go_while_they_are_read_are_nothing(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = log.reader()
    log.at(1.0)
    gone = log.write(1, log.row("a"))
    gone.unlink()
    log.write(1, log.row("b"))
    listed = answer_tally._names
    monkeypatch.setattr(answer_tally, "_names", lambda folder: listed(folder) | {gone.name})
    assert empties(tally) == {1: (1, 1)}
