"""Brings answers to those who asked, in a thread of its own, and hears that they no longer want it.

The engine's thread only publishes how far it has got. What is sent is the state of things at the
moment of sending, so a slow way out makes for longer pieces, never for a queue: memory here is one
answer a request under way. A server that takes pieces in for a client that does not read them
holds at most `max_new_tokens` of them for each of its requests.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .jobs import Ending
from .texts import added

if TYPE_CHECKING:
    from collections.abc import Callable

    from .jobs import Job, Progress
    from .texts import Texts

_IDLE_S = 0.25
_CODES = {
    Ending.CANCELLED: "CANCELLED",
    Ending.FAILED: "INTERNAL",
    Ending.CLOSED: "UNAVAILABLE",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer so far. `delta` is the text that the one before did not have."""

    text: str
    delta: str
    finished: bool
    average_log_probability: float
    token_count: int


class Channel(ABC):
    """The way to one client. One call at a time, and none after a last word that got through."""

    streamed: bool
    """Whether pieces of the answer are wanted, or only the whole."""

    @abstractmethod
    def send(self, answer: Answer) -> None:
        """Bring an answer; a `finished` one is the last."""

    @abstractmethod
    def fail(self, code: str, reason: str) -> None:
        """Say that there will be no (more) answer, and why. It is the last that is said.

        `code` is the name of one of Triton's error codes.
        """

    @abstractmethod
    def is_cancelled(self) -> bool:
        """Whether the client has gone, or says that it wants no more."""


@dataclass(frozen=True)
class Pace:
    """How often there is a look: all in seconds.

    After its first piece a stream gets another at most every `pieces_s`; clients are asked every
    `cancelled_s` whether they are still there.
    """

    pieces_s: float = 0.02
    cancelled_s: float = 0.05


class _Delivery:
    """What one client has got so far."""

    def __init__(self, job: Job, channel: Channel) -> None:
        self.job, self.channel = job, channel
        self.seen: Progress | None = None
        self.text = ""
        self.next_piece = 0.0
        self.next_look = 0.0


class Courier:
    """Serves every delivery until its job has ended. `add` and `wake` are for any thread."""

    def __init__(
        self,
        texts: Texts,
        *,
        pace: Pace | None = None,
        each_turn: Callable[[], None] = lambda: None,
        report: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self._texts, self._pace = texts, pace or Pace()
        self._each_turn, self._report = each_turn, report
        self._news = threading.Event()
        self._lock = threading.Lock()
        self._deliveries: list[_Delivery] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    def add(self, job: Job, channel: Channel) -> None:
        """Bring the answer of `job`."""
        with self._lock:
            self._deliveries.append(_Delivery(job, channel))
        self._news.set()

    def wake(self) -> None:
        """Look at once: a job has begun or ended. How others get further is looked at in turn."""
        self._news.set()

    def close(self, timeout_s: float) -> None:
        """Bring what has ended and stop."""
        self._closing = True
        self._news.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        closing = False
        while not closing:
            self._news.wait(self._pause())
            self._news.clear()
            # Read before the turn, so that what ended before `close` is still brought.
            closing = self._closing
            with self._lock:
                deliveries = list(self._deliveries)
            ended = {delivery for delivery in deliveries if self._serve(delivery)}
            with self._lock:
                self._deliveries = [one for one in self._deliveries if one not in ended]
            try:
                self._each_turn()
            except Exception as error:  # noqa: BLE001 - answers go on without it
                self._report(error)

    def _pause(self) -> float:
        with self._lock:
            return self._pace.pieces_s if self._deliveries else _IDLE_S

    def _serve(self, delivery: _Delivery) -> bool:
        """Bring a delivery what is new; whether that was the last."""
        try:
            return self._bring(delivery)
        except Exception as error:  # noqa: BLE001 - one client's way must not stop the others'
            self._report(error)
            delivery.job.cancelled = True
            with suppress(Exception):  # most likely it is this way that is broken
                delivery.channel.fail("INTERNAL", f"the answer was lost: {type(error).__name__}")
            return True

    def _bring(self, delivery: _Delivery) -> bool:
        progress = delivery.job.progress
        if progress.ending is not None:
            self._bring_last(delivery, progress)
            return True
        now = time.monotonic()
        if now >= delivery.next_look:
            delivery.next_look = now + self._pace.cancelled_s
            delivery.job.cancelled = delivery.job.cancelled or delivery.channel.is_cancelled()
        if (
            delivery.channel.streamed
            and progress is not delivery.seen
            and now >= delivery.next_piece
        ):
            delivery.seen = progress
            self._bring_piece(delivery, progress)
        return False

    def _bring_piece(self, delivery: _Delivery, progress: Progress) -> None:
        text = self._texts.settled(delivery.job.tokens(progress.token_count))
        if delta := added(delivery.text, text):
            delivery.text = text
            delivery.channel.send(_answer(progress, text, delta))
            delivery.next_piece = time.monotonic() + self._pace.pieces_s

    def _bring_last(self, delivery: _Delivery, progress: Progress) -> None:
        if progress.ending in _CODES:
            delivery.channel.fail(_CODES[progress.ending], progress.reason)
            return
        text = self._texts.whole(delivery.job.tokens())
        delivery.channel.send(_answer(progress, text, added(delivery.text, text)))


def _answer(progress: Progress, text: str, delta: str) -> Answer:
    return Answer(
        text=text,
        delta=delta,
        finished=progress.ending is not None,
        average_log_probability=progress.average_log_probability,
        token_count=progress.token_count,
    )
