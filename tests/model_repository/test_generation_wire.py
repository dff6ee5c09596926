"""The wire between a release's two programs: both ends of it, over an engine of tables."""

from __future__ import annotations

import os
import queue
import socket
import time
from multiprocessing.connection import Client
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from model_repository.programs.generation import wire
from model_repository.programs.generation.caller import Caller, Inquiry
from model_repository.programs.generation.courier import Channel, Courier, Pace
from model_repository.programs.generation.jobs import Job
from model_repository.programs.generation.questions import Question
from model_repository.programs.generation.reception import Reception
from model_repository.programs.generation.rules import Rules
from model_repository.programs.generation.scheduler import Bounds, Scheduler
from model_repository.programs.generation.texts import Texts
from model_repository.programs.generation.worker import Worker

from . import generation_engines as engines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TableEngine = engines.TableEngine
WAIT_S = 10
LETTERS = "abcdefghijklm"


def decode(tokens: Sequence[int]) -> str:
    return "".join(LETTERS[token] for token in tokens)


def wait(condition: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Asked(Inquiry):
    """A caller's client."""

    def __init__(self) -> None:
        self.words: queue.Queue[Any] = queue.Queue()
        self.gone = False

    def answered(self, outputs: Mapping[str, Any]) -> None:
        self.words.put(dict(outputs))

    def refused(self, code: str, reason: str) -> None:
        self.words.put((code, reason))

    def is_cancelled(self) -> bool:
        return self.gone


class Desk:
    """An engine of tables behind a reception."""

    def __init__(self, name: str, **bounds: int) -> None:
        rules = Rules(
            end=frozenset({0}),
            stop=(),
            allowed=np.zeros(TableEngine.VOCABULARY, np.float32),
            max_positions=400,
            max_new_tokens=40,
            causal=True,
            prompt_template="{text}",
            special_words=(),
        )
        self.engine = TableEngine(2, -9.0)
        self.scheduler: Scheduler[Any] = Scheduler(self.engine, rules, Bounds(**bounds))
        self.courier = Courier(Texts(decode, ()), pace=Pace(0, 0.005))
        self.worker = Worker(self.scheduler, self.courier.wake)
        self.taken: list[tuple[bytes, Mapping[str, Any]]] = []
        self.reception = Reception(name, "completion", self.take)

    def take(self, text: bytes, parameters: Mapping[str, Any], channel: Channel) -> None:
        self.taken.append((text, parameters))
        one = Job(Question(tuple(letter % 12 + 1 for letter in text), parameters["limit"]))
        if refusal := self.worker.submit(one):
            channel.fail("UNAVAILABLE", refusal)
        else:
            self.courier.add(one, channel)

    def close(self) -> None:
        self.reception.close()
        self.worker.close(WAIT_S)
        self.courier.close(WAIT_S)


@pytest.fixture
def name(tmp_path: Path) -> str:
    return f"{wire.address('toy', '1')}-{tmp_path.name}"


@pytest.fixture
def desk(name: str) -> Iterator[Desk]:
    desk = Desk(name, max_live=4, max_waiting=2)
    yield desk
    desk.close()


@pytest.fixture
def caller(name: str) -> Iterator[Caller]:
    caller = Caller(name)
    yield caller
    caller.close(0.1)


def answer(caller: Caller, text: bytes, **parameters: Any) -> Any:
    """The answer to one question, asked again until the wire stands."""
    while True:
        client = Asked()
        caller.ask(text, parameters, client)
        words = client.words.get(timeout=WAIT_S)
        if not (isinstance(words, tuple) and "not running" in words[1]):
            return words
        time.sleep(0.01)


def test_questions_and_answers_cross_the_wire(desk: Desk, caller: Caller) -> None:
    said = answer(caller, b"\xff\x00x", limit=7, name="é", ratio=0.5)
    assert said["token_count"] == len(said["completion"]) == 7
    assert set(said) == {
        "completion",
        "token_count",
        "average_log_probability",
        "compression_ratio",
    }
    assert desk.taken == [(b"\xff\x00x", {"limit": 7, "name": "é", "ratio": 0.5})]


@pytest.mark.usefixtures("desk")
def test_many_are_under_way_at_once_and_none_gets_anothers(caller: Caller) -> None:
    alone = {text: answer(caller, text, limit=20) for text in (b"a", b"bc", b"def")}
    clients = [(text, Asked()) for text in (*alone, *alone)]
    for text, client in clients:
        caller.ask(text, {"limit": 20}, client)
    for text, client in clients:
        assert client.words.get(timeout=WAIT_S) == alone[text]
        assert client.words.empty()


def test_a_refusal_crosses_the_wire(desk: Desk, caller: Caller) -> None:
    answer(caller, b"a", limit=1)
    desk.scheduler.close()
    code, reason = answer(caller, b"a", limit=1)
    assert code == "UNAVAILABLE"
    assert "shutting down" in reason


def test_a_client_that_has_gone_stops_the_engine(desk: Desk, caller: Caller) -> None:
    answer(caller, b"a", limit=1)
    client = Asked()
    caller.ask(b"a", {"limit": 10**9}, client)
    wait(lambda: desk.scheduler.counts.tokens > 20)
    client.gone = True
    assert client.words.get(timeout=WAIT_S)[0] == "CANCELLED"
    calls = len(desk.engine.calls)
    time.sleep(0.1)
    assert len(desk.engine.calls) == calls
    assert desk.scheduler.counts.cancelled == 1


def test_without_an_engine_questions_are_refused_and_with_one_answered(
    name: str, caller: Caller
) -> None:
    client = Asked()
    caller.ask(b"a", {"limit": 1}, client)
    assert client.words.get(timeout=WAIT_S)[0] == "UNAVAILABLE"
    desk = Desk(name)
    assert answer(caller, b"a", limit=3)["token_count"] == 3
    desk.close()


def test_callers_that_go_take_their_calls_with_them(desk: Desk, name: str) -> None:
    caller = Caller(name)
    answer(caller, b"a", limit=1)
    caller.ask(b"a", {"limit": 10**9}, Asked())
    wait(lambda: desk.scheduler.live == 1)
    caller.close(0.05)
    wait(lambda: desk.scheduler.counts.cancelled == 1)


def test_only_processes_of_the_same_user_are_heard(
    desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "is_own", lambda _: False)
    with Client(name, family="AF_UNIX") as stranger, pytest.raises((EOFError, OSError)):
        stranger.recv_bytes()
    assert not desk.taken


def test_peers_are_known_by_the_kernel() -> None:
    here, there = socket.socketpair()
    with here, there:
        connection: Any = SimpleNamespace(fileno=here.fileno)
        assert wire.is_own(connection)


def test_addresses_differ_by_server_model_and_release() -> None:
    found = wire.address("toy", "3")
    assert found.startswith("\0")
    assert found.endswith(f"-{os.getppid()}-toy-3")


def test_a_release_that_is_served_already_cannot_be_listened_for(desk: Desk, name: str) -> None:
    with pytest.raises(OSError, match="in use"):
        Reception(name, "completion", desk.take)
