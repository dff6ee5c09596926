"""The engine's end of the wire: takes the questions of the release's unary program.

What is heard is handed on at once and what is said waits in line for a thread of its own, so
neither end ever waits for the other to read.
"""

from __future__ import annotations

import queue
import threading
from multiprocessing.connection import Listener
from typing import TYPE_CHECKING, Any

from . import wire
from .courier import Answer, Channel
from .outputs import outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection

    Take = Callable[[bytes, Mapping[str, Any], Channel], None]
    """Hands a text with its request's parameters on, and the way back."""


class Reception:
    """Listens at `address` from its making to `close`. Raises OSError where that is taken."""

    def __init__(self, address: str, answer: str, take: Take) -> None:
        self._listener = Listener(address, family="AF_UNIX", backlog=16)
        self._answer, self._take = answer, take
        self._closing = False
        threading.Thread(target=self._listen, name="reception", daemon=True).start()

    def close(self) -> None:
        """Listen no more. What was asked is still answered."""
        self._closing = True
        self._listener.close()

    def _listen(self) -> None:
        while not self._closing:
            try:
                connection = self._listener.accept()
            except OSError:
                continue
            if not wire.is_own(connection):
                connection.close()
                continue
            caller = _Caller(connection, self._answer, self._take)
            threading.Thread(target=caller.hear, name="hearing", daemon=True).start()


class _Caller:
    """One connection. Its calls are cancelled when it ends."""

    def __init__(self, connection: Connection, answer: str, take: Take) -> None:
        self._connection, self._answer, self._take = connection, answer, take
        self._calls: dict[str, _Call] = {}
        self._words: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._speak, name="speaking", daemon=True).start()

    def hear(self) -> None:
        try:
            while True:
                self._handle(wire.unpack(self._connection.recv_bytes()))
        except (EOFError, OSError):
            for call in list(self._calls.values()):
                call.cancelled = True
            self._words.put(None)

    def _handle(self, message: dict[str, Any]) -> None:
        if "cancel" in message:
            if (call := self._calls.get(message["cancel"])) is not None:
                call.cancelled = True
            return
        name = message["call"]
        call = self._calls[name] = _Call(self, name)
        self._take(wire.to_bytes(message["text"]), message["parameters"], call)

    def say(self, name: str, words: dict[str, Any]) -> None:
        self._calls.pop(name, None)
        self._words.put({"call": name, **words})

    def outputs(self, answer: Answer) -> dict[str, Any]:
        return outputs(self._answer, answer)

    def _speak(self) -> None:
        while (words := self._words.get()) is not None:
            try:
                self._connection.send_bytes(wire.pack(words))
            except OSError:
                return


class _Call(Channel):
    """The way back to one question's caller."""

    streamed = False

    def __init__(self, caller: _Caller, name: str) -> None:
        self._caller, self._name = caller, name
        self.cancelled = False

    def send(self, answer: Answer) -> None:
        """See Channel."""
        self._caller.say(self._name, {"outputs": self._caller.outputs(answer)})

    def fail(self, code: str, reason: str) -> None:
        """See Channel."""
        self._caller.say(self._name, {"code": code, "reason": reason})

    def is_cancelled(self) -> bool:
        """See Channel."""
        return self.cancelled
