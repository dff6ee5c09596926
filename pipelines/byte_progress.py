"""Tells how far a long reading is, every two seconds; one that is done sooner says nothing."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from pipelines.stages import announce

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_S = 2.0


class ByteProgress:
    """An `on_bytes`: called from any thread with the bytes of one more block.

    `total` in bytes; 0 when it is not known.
    """

    def __init__(
        self,
        what: str,
        total: int = 0,
        *,
        tell: Callable[[str], None] = announce,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._total = total
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()
        self._told_at = clock()
        self.bytes = 0

    def __call__(self, count: int) -> None:
        """`count` more bytes are done."""
        with self._lock:
            self.bytes += count
            now = self._clock()
            if now - self._told_at < EVERY_S:
                return
            self._told_at = now
            done = self.bytes
        of = f" of {self._total / 1e9:.1f}" if self._total else ""
        self._tell(f"{self._what}: {done / 1e9:.1f}{of} GB")
