"""The thread that computes: round after round while there is something to do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .jobs import Job
    from .scheduler import Scheduler

_ONE_ROUND_S = 2.0


class Worker:
    """Runs a scheduler's rounds, from its making to `close`.

    `progressed` is called after rounds in which a request got its first token or ended.
    """

    def __init__(self, scheduler: Scheduler[Any], progressed: Callable[[], None]) -> None:
        self._scheduler, self._progressed = scheduler, progressed
        self._work = threading.Event()
        self._closing = False
        self._giving_up = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> str:
        """Take a job in; or why it cannot be. See Scheduler."""
        refusal = self._scheduler.submit(job)
        self._work.set()
        return refusal

    def close(self, timeout_s: float) -> None:
        """Take no more jobs in, answer those that are in for up to `timeout_s`, and stop."""
        self._scheduler.close()
        self._closing = True
        self._work.set()
        self._thread.join(timeout_s)
        self._giving_up = True
        self._thread.join(_ONE_ROUND_S)

    def _run(self) -> None:
        more = False
        while more or not self._closing:
            if not more:
                self._work.wait()
                # Cleared before the round, so that a job that comes during it is seen after it.
                self._work.clear()
            more = self._scheduler.round() and not self._giving_up
            if self._scheduler.has_news:
                self._progressed()
        self._scheduler.abandon()
        self._progressed()
