"""Controllers that stand still in the middle of what they do, and go on, or are killed, later.

Each runs in a thread of its own, and only one thread ever runs: whoever drives the test lets one
controller pass a number of points, and gets the turn back. So any interleaving can be had, and the
same one again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .crashing import Killed, Points

if TYPE_CHECKING:
    from collections.abc import Callable

HANGS_S = 60.0


class Suspended:
    """One call of a controller; `points` is what it passes, `result` or `error` how it ended."""

    def __init__(self, name: str, call: Callable[[Points], object]) -> None:
        self.name = name
        self.points = Points(at=0, act=self._stop)
        self.result: object = None
        self.error: BaseException | None = None
        self.ended = False
        self._mine = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def go(self, points: int) -> None:
        """Let it pass so many points, or end. Raises what is no error of the product."""
        self.points.at = self.points.passed + points
        self._mine.release()
        assert self._back.acquire(timeout=HANGS_S), f"{self.name} hangs"
        if self.ended:
            self._thread.join()

    def kill(self) -> None:
        """As kill -9: none of it runs any more."""
        self.points.dead = True
        self.go(1)
        assert self.ended

    def _stop(self) -> None:
        self._back.release()
        self._mine.acquire()
        if self.points.dead:
            raise Killed

    def _run(self) -> None:
        self._mine.acquire()
        try:
            if not self.points.dead:
                self.result = self._call(self.points)
        except BaseException as error:  # noqa: BLE001 - the driver of the test judges it
            self.error = error
        self.ended = True
        self._back.release()
