"""The unary program's end of the wire: asks the release's engine, hears answers, cancels.

One thread hears and looks after the clients, so no answer waits for another. Knows no server.
"""

from __future__ import annotations

import threading
import time
import uuid
from abc import ABC, abstractmethod
from contextlib import suppress
from multiprocessing.connection import Client, Connection
from typing import TYPE_CHECKING, Any

from . import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOOK_S = 0.2
"""How often clients are asked whether they are still there: each asking costs Triton time."""
_CONNECT_S = 0.05
"""How often an engine is looked for that is not there yet, or not any more."""


class Inquiry(ABC):
    """One text that is asked, and where its answer goes. All calls come from one thread."""

    @abstractmethod
    def answered(self, outputs: Mapping[str, Any]) -> None:
        """Take the outputs by tensor name."""

    @abstractmethod
    def refused(self, code: str, reason: str) -> None:
        """Take the reason that there is no answer; `code` is the name of one of Triton's."""

    @abstractmethod
    def is_cancelled(self) -> bool:
        """Whether the client has gone."""


class Caller:
    """The calls to one engine, which need not be there yet and may come back."""

    def __init__(self, address: str, report: Callable[[Exception], None] = lambda _: None) -> None:
        self._address, self._report = address, report
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._inquiries: dict[str, Inquiry] = {}
        self._closing = False
        self._next_look = 0.0
        self._thread = threading.Thread(target=self._run, name="caller", daemon=True)
        self._thread.start()

    def ask(self, text: bytes, parameters: Mapping[str, Any], inquiry: Inquiry) -> None:
        """Send a text on its way. The answer or the refusal comes to `inquiry`, once."""
        name = uuid.uuid4().hex
        question = {"call": name, "text": wire.to_text(text), "parameters": dict(parameters)}
        with self._lock:
            self._inquiries[name] = inquiry
            # Not sent, it is refused by the thread that hears: no other may speak to an inquiry.
            self._send(question)

    def close(self, timeout_s: float) -> None:
        """Wait for answers for up to `timeout_s`, and stop."""
        deadline = time.monotonic() + timeout_s
        while self._inquiries and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        self._closing = True
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closing:
            connection = self._connection or self._connect()
            if connection is None:
                self._refuse_all()
                time.sleep(_CONNECT_S)
                continue
            try:
                message = connection.recv_bytes() if connection.poll(_LOOK_S) else None
            except (EOFError, OSError):
                self._lose(connection)
                continue
            try:
                if message is not None:
                    self._hear(wire.unpack(message))
                self._look()
            except Exception as error:  # noqa: BLE001 - one client's way must not stop the others'
                self._report(error)
        if self._connection is not None:
            self._connection.close()

    def _connect(self) -> Connection | None:
        try:
            connection = Client(self._address, family="AF_UNIX")
        except OSError:
            return None
        if not wire.is_own(connection):
            connection.close()
            return None
        with self._lock:
            unsent, self._inquiries = self._inquiries, {}
            self._connection = connection
        _refuse(unsent)
        return connection

    def _hear(self, message: dict[str, Any]) -> None:
        with self._lock:
            inquiry = self._inquiries.pop(message["call"], None)
        if inquiry is None:
            return
        if "outputs" in message:
            inquiry.answered(message["outputs"])
        else:
            inquiry.refused(message["code"], message["reason"])

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        with self._lock:
            inquiries = list(self._inquiries.items())
        for name, inquiry in inquiries:
            if inquiry.is_cancelled():
                with self._lock:
                    self._send({"cancel": name})

    def _lose(self, connection: Connection) -> None:
        connection.close()
        with self._lock:
            self._connection = None
        self._refuse_all()

    def _refuse_all(self) -> None:
        with self._lock:
            lost, self._inquiries = self._inquiries, {}
        _refuse(lost)

    def _send(self, message: dict[str, Any]) -> None:
        """Send a message if there is anybody to hear it. Only under the lock."""
        if self._connection is not None:
            # A connection that is lost is noticed where it is read.
            with suppress(OSError):
                self._connection.send_bytes(wire.pack(message))


def _refuse(inquiries: Mapping[str, Inquiry]) -> None:
    for inquiry in inquiries.values():
        inquiry.refused("UNAVAILABLE", "this model's engine is not running; try again later")
