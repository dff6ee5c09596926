"""Answers on their way to clients: pieces, pace, cancellation, and what goes wrong."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from model_repository.programs.generation.courier import Answer, Channel, Courier, Pace
from model_repository.programs.generation.jobs import Ending, Job
from model_repository.programs.generation.outputs import outputs
from model_repository.programs.generation.questions import Question
from model_repository.programs.generation.texts import Texts

from . import generation_engines as engines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TableEngine = engines.TableEngine
WAIT_S = 10
LETTERS = "abcdefghijklm"


def decode(tokens: Sequence[int]) -> str:
    return "".join(LETTERS[token] for token in tokens)


class Ear(Channel):
    """A client that keeps what it hears."""

    def __init__(self, *, streamed: bool = True) -> None:
        self.streamed = streamed
        self.heard: list[Answer] = []
        self.failed: list[tuple[str, str]] = []
        self.gone = False
        self.looks = 0
        self.over = threading.Event()

    def send(self, answer: Answer) -> None:
        assert not self.over.is_set()
        self.heard.append(answer)
        if answer.finished:
            self.over.set()

    def fail(self, code: str, reason: str) -> None:
        assert not self.over.is_set()
        self.failed.append((code, reason))
        self.over.set()

    def is_cancelled(self) -> bool:
        assert not self.over.is_set(), "a server dies when it is asked after the last word"
        self.looks += 1
        return self.gone


@pytest.fixture
def courier() -> Iterator[Courier]:
    courier = Courier(Texts(decode, ()), pace=Pace(pieces_s=0.0, cancelled_s=0.005))
    yield courier
    courier.close(WAIT_S)


def job(limit: int = 50) -> Job:
    return Job(Question((1,), limit))


def wait(condition: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_stream_is_brought_in_pieces_that_add_up(courier: Courier) -> None:
    one, ear = job(), Ear()
    courier.add(one, ear)
    for token in range(1, 6):
        one.add(token, -0.5, 0.25, ends=False)
        courier.wake()
        wait(lambda token=token: len(ear.heard) == token)
    one.add(0, -1.5, 0.25, ends=True)
    courier.wake()
    assert ear.over.wait(WAIT_S)
    assert [answer.text for answer in ear.heard] == ["b", "bc", "bcd", "bcde", "bcdef", "bcdef"]
    assert [answer.delta for answer in ear.heard] == ["b", "c", "d", "e", "f", ""]
    assert [answer.finished for answer in ear.heard] == [False] * 5 + [True]
    assert [answer.token_count for answer in ear.heard] == [1, 2, 3, 4, 5, 5]
    assert ear.heard[-1].average_log_probability == pytest.approx(-4 / 6)
    values = outputs("completion", ear.heard[-1])
    assert (values["completion"], values["token_count"]) == ("bcdef", 5)
    assert 0 < values["compression_ratio"] < 1


def test_a_whole_answer_is_brought_once(courier: Courier) -> None:
    one, ear = job(3), Ear(streamed=False)
    courier.add(one, ear)
    for token in (1, 2, 3):
        one.add(token, -0.5, 0.25, ends=False)
        courier.wake()
        time.sleep(0.01)
    assert ear.over.wait(WAIT_S)
    assert [(answer.text, answer.finished) for answer in ear.heard] == [("bcd", True)]


def test_a_slow_way_out_makes_longer_pieces_not_a_queue(courier: Courier) -> None:
    gate = threading.Semaphore(0)

    class Slow(Ear):
        def send(self, answer: Answer) -> None:
            assert gate.acquire(timeout=WAIT_S)
            super().send(answer)

    one, ear = job(200), Slow()
    courier.add(one, ear)
    for number in range(200):
        one.add(1 + number % 12, -0.5, 0.25, ends=False)
        courier.wake()
        if number == 0:
            time.sleep(0.1)
    for _ in range(3):
        gate.release()
    assert ear.over.wait(WAIT_S)
    assert len(ear.heard) <= 3
    assert ear.heard[0].text == "b"
    assert "".join(answer.delta for answer in ear.heard) == ear.heard[-1].text
    assert len(ear.heard[-1].text) == 200


def test_pieces_keep_their_pace() -> None:
    courier = Courier(Texts(decode, ()), pace=Pace(pieces_s=0.1, cancelled_s=1))
    one, ear = job(1000), Ear()
    courier.add(one, ear)
    started = time.monotonic()
    while time.monotonic() - started < 0.45:
        one.add(1, -0.5, 0.25, ends=False)
        courier.wake()
        time.sleep(0.002)
    courier.close(WAIT_S)
    assert 2 <= len(ear.heard) <= 6


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending.FAILED, "INTERNAL"),
        (Ending.CLOSED, "UNAVAILABLE"),
        (Ending.CANCELLED, "CANCELLED"),
    ],
)
def test_an_answer_that_fails_says_so(courier: Courier, ending: Ending, code: str) -> None:
    one, ear = job(), Ear()
    courier.add(one, ear)
    one.end(ending, "because")
    courier.wake()
    assert ear.over.wait(WAIT_S)
    assert ear.failed == [(code, "because")]


def test_a_client_that_has_gone_cancels_its_job(courier: Courier) -> None:
    one, ear = job(), Ear()
    courier.add(one, ear)
    wait(lambda: ear.looks > 1)
    assert not one.cancelled
    ear.gone = True
    wait(lambda: one.cancelled)
    one.end(Ending.CANCELLED)
    courier.wake()
    assert ear.over.wait(WAIT_S)


def test_a_broken_way_out_stops_nobody_else() -> None:
    class Broken(Ear):
        def send(self, answer: Answer) -> None:
            raise OSError(answer.text)

    reported: list[Exception] = []
    courier = Courier(Texts(decode, ()), pace=Pace(0, 1), report=reported.append)
    one, other, ear = job(), job(1), Ear()
    courier.add(one, Broken())
    courier.add(other, ear)
    one.add(1, -0.5, 0.25, ends=False)
    other.add(1, -0.5, 0.25, ends=False)
    courier.wake()
    assert ear.over.wait(WAIT_S)
    courier.close(WAIT_S)
    assert one.cancelled
    assert [str(error) for error in reported] == ["b"]


def test_an_answer_that_cannot_be_written_is_told_so() -> None:
    def broken(tokens: Sequence[int]) -> str:
        raise KeyError(tokens[0])

    courier = Courier(Texts(broken, ()), pace=Pace(0, 1))
    one, ear = job(1), Ear()
    courier.add(one, ear)
    one.add(1, -0.5, 0.25, ends=False)
    courier.wake()
    assert ear.over.wait(WAIT_S)
    courier.close(WAIT_S)
    assert ear.failed == [("INTERNAL", "the answer was lost: KeyError")]
