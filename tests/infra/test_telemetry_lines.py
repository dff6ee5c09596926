"""The lines about sessions, with a pen in place of Envoy: what is torn, lost, late or too much."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local import session_log, session_tally
from infra.local.session_log import SessionLog, live_log
from infra.local.session_tally import Answer, SessionTally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EPOCH = 1_700_000_000_000


class Pen:
    """Writes as Envoy does: into the file that it opened, until it is told to open it anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file: IO[bytes] = live_log(folder).open("ab", buffering=0)

    def reopen(self) -> None:
        self.file.close()
        self.file = live_log(self.folder).open("ab", buffering=0)

    def write(self, session: str | None = None, *, release: int = 1, **more: Any) -> None:
        self.file.write(line(session, release=release, **more))

    def reader(self) -> SessionLog:
        return SessionLog(self.folder, self.reopen)


def line(session: str | None = None, *, release: int = 1, **more: Any) -> bytes:
    values = {
        "epoch": f"{EPOCH}-{EPOCH}",
        "session": None if session is None else f"{hash(session) & (2**64 - 1):016x}",
        "last": None,
        "cluster": f"speech/r{release}/http/infer",
        "status": 200,
        "grpc": None,
        "flags": "-",
        "attempts": 1,
        "ms": 4,
    }
    return json.dumps(values | more).encode() + b"\n"


@pytest.fixture
def pen(tmp_path: Path) -> Iterator[Pen]:
    made = Pen(tmp_path)
    yield made
    made.file.close()


def told(log: SessionLog, model: str = "speech") -> dict[int, tuple[int, int]]:
    tally = log.read().get(model, SessionTally())
    return {release: (arm.sessions, arm.failed) for release, arm in tally.arms().items()}


def test_a_torn_last_line_waits_for_its_rest(pen: Pen) -> None:
    log = pen.reader()
    whole = line("one")
    pen.file.write(whole + line("two")[:30])
    assert told(log) == {1: (1, 0)}
    pen.file.write(line("two")[30:])
    assert told(log) == {1: (2, 0)}


def test_a_line_that_a_crash_tore_says_nothing(pen: Pen) -> None:
    pen.file.write(line("one") + line("two")[:40] + line("three") + line("four"))
    assert told(pen.reader()) == {1: (2, 0)}


@pytest.mark.parametrize(
    ("values", "failed"),
    [
        ({"status": 200}, False),
        ({"status": 400}, True),
        ({"status": 503, "flags": "UF"}, True),
        ({"status": 504, "flags": "UT"}, True),
        ({"status": 200, "attempts": 2}, True),
        ({"cluster": "speech/r1/http/retried-r7"}, False),
        ({"cluster": "speech/r1/grpc/infer", "grpc": 0}, False),
        ({"cluster": "speech/r1/grpc/infer", "grpc": 13}, True),
        ({"cluster": "speech/r1/grpc/infer", "grpc": None}, True),
    ],
)
def test_what_counts_as_failed(pen: Pen, values: dict[str, Any], failed: bool) -> None:
    pen.write("one", **values)
    assert told(pen.reader()) == {1: (1, int(failed))}


@pytest.mark.parametrize("values", [{"status": 0, "flags": "DC"}, {"cluster": ""}, {"epoch": None}])
def test_who_went_away_and_what_is_not_ours_is_not_counted(
    pen: Pen, values: dict[str, Any]
) -> None:
    pen.write("one", **values)
    assert told(pen.reader()) == {}


def test_a_late_line_of_an_earlier_epoch_changes_nothing(pen: Pen) -> None:
    pen.write("one")
    pen.write("two", epoch=f"{EPOCH}-{EPOCH + 5}")
    pen.write("three")
    assert told(pen.reader()) == {1: (1, 0)}


def test_a_reader_that_starts_later_knows_as_much(
    pen: Pen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_log, "PIECE_BYTES", 3000)
    chance = np.random.default_rng(1)
    log, seen, failed = pen.reader(), set(), set()
    for number in range(400):
        name, bad = f"s{chance.integers(150)}", chance.random() < 0.1
        pen.write(name, status=500 if bad else 200)
        seen.add(name)
        failed |= {name} if bad else set()
        if number % 23 == 0:
            told(log)
        if number % 61 == 0:
            told(pen.reader())
    expected = {1: (len(seen), len(failed))}
    assert told(log) == told(pen.reader()) == expected
    assert live_log(pen.folder).stat().st_size < 8000
    assert not (pen.folder / "sessions.full.log").exists()


def test_a_reader_that_died_while_it_changed_files_loses_nothing(
    pen: Pen, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = pen.reader()
    pen.write("one")
    assert told(log) == {1: (1, 0)}
    # As after a death between the rename and the answer of Envoy.
    live_log(pen.folder).rename(pen.folder / "sessions.full.log")
    pen.write("two")
    monkeypatch.setattr(session_log, "_REOPEN_TIMEOUT_S", 0.05)
    silent = SessionLog(pen.folder, lambda: None)
    assert told(silent) == {1: (2, 0)}
    pen.write("three")
    assert told(silent) == {1: (3, 0)}
    assert told(pen.reader()) == told(log) == {1: (3, 0)}
    pen.write("four")
    assert told(log) == told(silent) == {1: (4, 0)}


def test_a_reader_that_died_after_its_snapshot_counts_nothing_twice(
    pen: Pen, monkeypatch: pytest.MonkeyPatch
) -> None:
    pen.write()
    pen.write()
    folder = type(pen.folder)
    remove = folder.unlink

    def die(path: Path, missing_ok: bool = False) -> None:
        if path.name == "sessions.full.log":
            raise KeyboardInterrupt
        remove(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(session_log, "PIECE_BYTES", 10)
        patched.setattr(folder, "unlink", die)
        with pytest.raises(KeyboardInterrupt):
            told(pen.reader())
    assert (pen.folder / "sessions.full.log").exists()
    pen.write()
    assert told(pen.reader()) == {1: (3, 0)}
    assert not (pen.folder / "sessions.full.log").exists()


@pytest.mark.parametrize("harm", ["removed", "cut", "replaced"])
def test_lost_lines_make_an_epoch_untold(pen: Pen, harm: str) -> None:
    log, live = pen.reader(), live_log(pen.folder)
    pen.write("one")
    assert told(log) == {1: (1, 0)}
    if harm == "cut":
        live.write_bytes(b"")
    else:
        live.unlink()
    if harm == "replaced":
        pen.reopen()
    told(log)
    pen.write("two")
    assert told(log) == {}
    assert told(pen.reader()) == {}
    later = 10 * EPOCH
    pen.write("three", epoch=f"{later}-{later}")
    assert told(log) == {1: (1, 0)}


def test_a_damaged_snapshot_makes_an_epoch_untold(pen: Pen) -> None:
    pen.write("one")
    (pen.folder / "sessions.npz").write_bytes(b"PK\x03\x04 not a snapshot")
    log = pen.reader()
    assert told(log) == {}
    pen.write("two")
    assert told(log) == {}


def test_the_last_line_that_envoy_writes_of_an_epoch_ends_it(pen: Pen) -> None:
    pen.write("one")
    pen.write("two", last="1")
    assert told(pen.reader()) == {}


def test_models_are_told_apart(pen: Pen) -> None:
    pen.write("one")
    pen.write("one", cluster="other/r4/grpc/infer", grpc=0)
    log = pen.reader()
    assert told(log) == {1: (1, 0)}
    assert told(log, "other") == {4: (1, 0)}


def note(tally: SessionTally, session: int | None, **more: Any) -> None:
    values: dict[str, Any] = {"series": 1, "epoch": 1, "release": 1, "failed": False, "ms": 4}
    tally.note(Answer(session=session, **(values | more)))


def test_the_slowest_answer_of_a_session_counts() -> None:
    tally = SessionTally()
    for ms in (4, 260, 9, 100):
        note(tally, 1, ms=ms)
    note(tally, None, ms=100)
    note(tally, None, ms=None)
    arm = tally.arms()[1]
    assert (arm.slow(100), arm.slow(250), arm.slow(300)) == (2, 1, 0)


def test_who_failed_in_an_earlier_epoch_is_left_out_of_the_same_comparison() -> None:
    tally = SessionTally()
    note(tally, 1, failed=True)
    note(tally, 2)
    for epoch in (2, 3):
        for session in (1, 2):
            note(tally, session, epoch=epoch)
        assert tally.arms()[1].sessions == 1
    note(tally, 1, series=4, epoch=4)
    assert tally.arms()[1].sessions == 1


def test_memory_stays_flat_and_the_sample_is_fair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_tally, "MOST_SESSIONS", 4000)
    tally, chance = SessionTally(), np.random.default_rng(2)
    for number in range(100_000):
        release = 1 + (number % 10 == 0)
        note(tally, int(chance.integers(2**63)), release=release, failed=number % 20 < 2)
    arms = tally.arms()
    sessions = arms[1].sessions + arms[2].sessions
    assert 1500 < sessions <= 4000
    assert arms[2].sessions / sessions == pytest.approx(0.1, abs=0.03)
    assert arms[2].failed / arms[2].sessions == pytest.approx(0.5, abs=0.1)
    assert arms[1].failed / arms[1].sessions == pytest.approx(0.055, abs=0.03)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(0, 20)),
            st.booleans(),
            st.integers(0, 6000),
            st.integers(1, 3),
        )
    )
)
def test_a_restored_tally_goes_on_as_the_one_it_was_taken_from(
    answers: list[tuple[int | None, bool, int, int]],
) -> None:
    tally = SessionTally()
    for session, failed, ms, epoch in sorted(answers, key=lambda answer: answer[3]):
        note(tally, session, failed=failed, ms=ms, epoch=epoch, release=1 + (session or 0) % 2)
    header = json.loads(json.dumps(tally.header()))
    copy = SessionTally.restored(header, dict(tally.arrays()))
    for session in range(25):
        for one in (tally, copy):
            note(one, session, epoch=3, failed=session % 3 == 0, release=1 + session % 2)
    assert copy.arms() == tally.arms()
