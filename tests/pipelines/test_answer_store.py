"""What was answered is kept, whatever becomes of the process that asked."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.answer_store import AnswerStore, Keeper, forget_unused
from validation.answers import Answer

CHECKOUT = Path(__file__).resolve().parents[2]
IDENTITY = {"variant": "a" * 64, "dataset": "b" * 64}


def answers(*names: str) -> list[Answer]:
    return [Answer(name, f"said {name}", {"probability": -0.5}, 12.5) for name in names]


def chunks(store: AnswerStore) -> Path:
    return store.folder / "answers.chunks"


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    store = AnswerStore.of(tmp_path, IDENTITY)
    assert store.read() == {}
    store.append(answers("one", "zwei\u2028ö"))
    store.append([])
    store.append(answers("three"))
    again = AnswerStore.of(tmp_path, IDENTITY)
    assert list(again.read().values()) == answers("one", "zwei\u2028ö", "three")
    assert again.count() == 3


def test_another_identity_is_another_store(tmp_path: Path) -> None:
    AnswerStore.of(tmp_path, IDENTITY).append(answers("one"))
    assert AnswerStore.of(tmp_path, {**IDENTITY, "variant": "c" * 64}).read() == {}


def test_of_two_answers_the_first_is_kept(tmp_path: Path) -> None:
    store = AnswerStore.of(tmp_path, IDENTITY)
    store.append([Answer("one", "first")])
    store.append([Answer("one", "second"), Answer("two", "third")])
    assert {name: one.text for name, one in store.read().items()} == {
        "one": "first",
        "two": "third",
    }


def test_stores_that_nobody_uses_are_forgotten(tmp_path: Path) -> None:
    old, used = ({**IDENTITY, "variant": letter * 64} for letter in "de")
    for identity in (old, used):
        store = AnswerStore.of(tmp_path, identity)
        store.append(answers("one"))
        (store.folder / "records").mkdir()
        (store.folder / "records" / "log").touch()
        os.utime(store.folder / "identity.json", (1000.0, 1000.0))
    AnswerStore.of(tmp_path, used)
    assert forget_unused(tmp_path, since=2000.0) == 1
    assert forget_unused(tmp_path, since=2000.0) == 0
    assert AnswerStore.of(tmp_path, old).read() == {}
    assert list(AnswerStore.of(tmp_path, used).read()) == ["one"]


@pytest.mark.parametrize("missing", range(1, 40, 3))
def test_a_torn_last_chunk_is_dropped_and_the_next_one_is_whole(
    tmp_path: Path, missing: int
) -> None:
    store = AnswerStore.of(tmp_path, IDENTITY)
    store.append(answers("one"))
    store.append(answers("two"))
    content = chunks(store).read_bytes()
    chunks(store).write_bytes(content[:-missing])
    assert set(store.read()) == {"one"}
    assert store.count() == 1
    store.append(answers("three"))
    assert set(store.read()) == {"one", "three"}


def test_a_changed_chunk_is_as_if_it_was_never_there(tmp_path: Path) -> None:
    store = AnswerStore.of(tmp_path, IDENTITY)
    store.append(answers("one"))
    store.append(answers("two"))
    content = chunks(store).read_bytes()
    chunks(store).write_bytes(content.replace(b"said one", b"said two", 1))
    assert set(store.read()) == {"two"}


def test_numbers_that_are_none_are_kept_as_they_are(tmp_path: Path) -> None:
    store = AnswerStore.of(tmp_path, IDENTITY)
    store.append([Answer("one", "", {"a": float("nan"), "b": float("inf")})])
    signals = store.read()["one"].signals
    assert math.isnan(signals["a"])
    assert signals["b"] == float("inf")


def test_an_answer_that_may_be_another_one_next_time_is_not_kept(tmp_path: Path) -> None:
    store = AnswerStore.of(tmp_path, IDENTITY)
    with Keeper(store) as keeper:
        keeper(Answer("slow", "", error="no answer within 600 s"), settled=False)
        keeper(Answer("bad", "", error="the clip is too long"), settled=True)
    assert set(store.read()) == {"bad"}
    assert [one.id for one in keeper.passing] == ["slow"]


WRITER = """
import sys
from pathlib import Path
from pipelines.answer_store import AnswerStore
from validation.answers import Answer
store = AnswerStore.of(Path(sys.argv[1]), {"variant": "a" * 64, "dataset": "b" * 64})
number = 0
while True:
    store.append([Answer(f"{sys.argv[2]}-{number}-{one}", "x" * 5000) for one in range(20)])
    number += 1
"""


def test_writers_that_are_killed_leave_only_whole_chunks(tmp_path: Path) -> None:
    store = AnswerStore.of(tmp_path, IDENTITY)
    for turn in range(3):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path), f"{turn}{writer}"], cwd=CHECKOUT
            )
            for writer in range(2)
        ]
        before = store.count()
        deadline = time.monotonic() + 60
        while store.count() < before + 100 and time.monotonic() < deadline:
            time.sleep(0.01)
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait(timeout=10)
    store.append(answers("last"))
    found = store.read()
    assert "last" in found
    assert len(found) == store.count()
    assert (len(found) - 1) % 20 == 0
    assert len(found) > 300
