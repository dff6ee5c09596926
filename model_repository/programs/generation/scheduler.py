"""Who is computed when: every request under way gets one token a round.

So a long answer never blocks a new one, which has its first token within a round of its admission.
New requests join the batch of those that are under way, whatever these have got to. At most
`max_live` are computed, `max_waiting` more may wait; others are refused at once. Knows no clock,
no server and no text.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from .batch import Batch
from .jobs import CANCELLED, Ending, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .engines import Engine
    from .rules import Rules

S = TypeVar("S")


@dataclass(frozen=True)
class Bounds:
    """`max_live` requests are computed side by side; `max_waiting` more wait their turn."""

    max_live: int = 32
    max_waiting: int = 128

    def __post_init__(self) -> None:
        if self.max_live < 1 or self.max_waiting < 0:
            raise ValueError(
                f"max_live is {self.max_live} and max_waiting {self.max_waiting}; "
                "give at least 1 and 0"
            )


@dataclass
class Counts:
    """What was done so far."""

    steps: int = 0
    """Calls of the engine."""
    tokens: int = 0
    """Tokens chosen, those that end an answer included."""
    answered: int = 0
    cancelled: int = 0
    failed: int = 0
    refused: int = 0
    """Requests for which there was no room."""


class Scheduler(Generic[S]):
    """The requests of one engine. `submit` and `close` are for any thread, `round` for one."""

    def __init__(
        self,
        engine: Engine[S],
        rules: Rules,
        bounds: Bounds,
        *,
        is_stopped: Callable[[Sequence[int]], bool] = lambda _: False,
        report: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self._bounds, self._report = bounds, report
        self._batch = Batch(engine, rules, is_stopped)
        self._lock = threading.Lock()
        self._waiting: deque[Job] = deque()
        self._jobs: list[Job] = []
        self._live = 0
        self._seen_tokens = 0
        self._closed = False
        self._has_news = False
        self.counts = Counts()

    @property
    def has_news(self) -> bool:
        """Whether in the last round a request got its first token or ended."""
        return self._has_news

    @property
    def live(self) -> int:
        """How many requests are being computed."""
        return self._live

    @property
    def waiting(self) -> int:
        """How many requests wait for room."""
        return len(self._waiting)

    def submit(self, job: Job) -> str:
        """Take a job in; or why it cannot be: there is no room, or no more time."""
        bounds = self._bounds
        with self._lock:
            if self._closed:
                return "this model is shutting down; ask another replica"
            if self._live + len(self._waiting) >= bounds.max_live + bounds.max_waiting:
                self.counts.refused += 1
                return (
                    f"this model is busy: {self._live} requests are being answered and "
                    f"{len(self._waiting)} wait, the most it takes; try again later"
                )
            self._waiting.append(job)
            return ""

    def close(self) -> None:
        """Take no more jobs in; those that are in are still answered."""
        with self._lock:
            self._closed = True

    def abandon(self) -> None:
        """End what has not ended. Only where `round` is not running."""
        for job in (*self._waiting, *self._jobs):
            job.end(Ending.CLOSED, "this model shut down before the answer was whole")
        self._waiting.clear()
        self._batch.drop()
        self._jobs = []

    def round(self) -> bool:
        """Compute one token of every request under way; whether there is more to do."""
        batch = self._batch
        self._attempt(batch.leave, batch.jobs)
        if admitted := self._admit():
            self._start(admitted)
        if jobs := batch.jobs:
            self.counts.steps += 1
            self._attempt(batch.step, jobs)
        return self._settle()

    def _attempt(self, act: Callable[[], None], jobs: Sequence[Job]) -> None:
        """Let the batch of `jobs` act; when the engine fails, they do, and nothing is left."""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - an engine may raise anything
            self._batch.drop()
            self._fail(jobs, error)

    def _admit(self) -> list[Job]:
        """Waiting jobs for which there is room, the longest waiting first."""
        live = sum(job.is_live for job in self._jobs)
        admitted: list[Job] = []
        gone: list[Job] = []
        with self._lock:
            for job in [job for job in self._waiting if job.cancelled]:
                self._waiting.remove(job)
                job.end(Ending.CANCELLED, CANCELLED)
                gone.append(job)
            while self._waiting and live + len(admitted) < self._bounds.max_live:
                admitted.append(self._waiting.popleft())
            self._live = live + len(admitted)
        self._jobs += admitted + gone
        return admitted

    def _start(self, jobs: list[Job]) -> None:
        """Let new jobs join the batch. When they cannot be started, the others go on."""
        self.counts.steps += 1
        try:
            rows = self._batch.start(jobs)
        except Exception as error:  # noqa: BLE001 - as in _attempt
            self._fail(jobs, error)
        else:
            self._attempt(lambda: self._batch.join(rows), [*self._batch.jobs, *jobs])

    def _fail(self, jobs: Sequence[Job], error: Exception) -> None:
        self._report(error)
        for job in jobs:
            job.end(Ending.FAILED, f"the engine failed: {type(error).__name__}")

    def _settle(self) -> bool:
        """Count what ended and what it took; whether there is more to do."""
        counts = self.counts
        self._has_news = False
        for job in self._jobs:
            ending = job.progress.ending
            self._has_news = self._has_news or ending is not None or job.chosen == 1
            counts.answered += ending is Ending.ANSWERED
            counts.cancelled += ending is Ending.CANCELLED
            counts.failed += ending is Ending.FAILED
        with self._lock:
            counts.tokens += sum(job.chosen for job in self._jobs) - self._seen_tokens
            self._jobs = [job for job in self._jobs if job.is_live]
            self._seen_tokens = sum(job.chosen for job in self._jobs)
            self._live = len(self._jobs)
            return bool(self._jobs or self._waiting)
