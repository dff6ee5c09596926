"""Reads files once, as fast as SHA-256 goes, and knows whether anybody could write meanwhile.

Pages that are in memory already are hashed where they lie; copying them out first costs a tenth of
the speed. A file that is cut short under a mapping would end the process (SIGBUS), so nothing is
mapped without a read lease (fcntl(2), F_SETLEASE): while it lasts, nobody has the file open for
writing, and who asks waits until it is given back here, within one window. Where no lease is to be
had (another owner, some network file systems, a writer at work), the file is read as usual. It
remembers nothing and never says what a hash should be.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import signal
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from registry.errors import UserError
from registry.priority import give_way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    OnBytes = Callable[[int], None]

Item = TypeVar("Item")
Result = TypeVar("Result")

WINDOW = 64 << 20
"""Bytes of a file that are mapped, or asked for, at a time: a writer waits for one, some 40 ms."""

_LOOKS = 16
"""Places of a window that must be in memory before it is mapped."""

_BUFFER = 256 << 10
"""What is read at a time: it stays in the processor's cache until it is hashed."""

_POPULATE_READ = 22
"""MADV_POPULATE_READ (Linux 5.14): a page that cannot be read is an error here, not a SIGBUS."""

_QUIET_SIGNAL = signal.SIGURG
"""Tells of a lease that is wanted back. Unlike SIGIO, it is ignored unless somebody listens."""


class SinkError(OSError):
    """The sink refused: what was read is well, where it goes is not."""


class Sink(Protocol):
    """Where a file's bytes go while they are hashed."""

    def write(self, content: memoryview, /) -> object:
        """Take all of `content`."""


@dataclass(frozen=True, slots=True)
class Hashed:
    """What one reading of a file found.

    `undisturbed`: nobody had the file open for writing from the first byte to the last, and it is
    still what `status` says. `began_ns` is when the reading began, in nanoseconds since the epoch.
    """

    size: int
    sha256: str
    status: os.stat_result
    began_ns: int
    undisturbed: bool


class PlainFile:
    """A regular file, open for one reading. No link is followed and no pipe waited for.

    Raises UserError for anything but a regular file, OSError when it cannot be opened. `fresh`
    reads the disk and not what is cached of it, as far as the kernel lets go of that.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        self.began_ns = time.time_ns()
        self.status = os.fstat(self._descriptor)
        if not stat.S_ISREG(self.status.st_mode):
            os.close(self._descriptor)
            raise UserError("is not a regular file", where=str(path))
        self._leased = _lease(self._descriptor)
        advice = os.POSIX_FADV_DONTNEED if fresh else os.POSIX_FADV_SEQUENTIAL
        os.posix_fadvise(self._descriptor, 0, 0, advice)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._give_back()
        os.close(self._descriptor)

    def blocks(self) -> Iterator[memoryview]:
        """Its bytes in order; each block is valid until the next is asked for. Raises OSError."""
        offset, buffer = 0, memoryview(bytearray(min(_BUFFER, self.status.st_size + 1)))
        while True:
            with self._mapped(offset) as window:
                if window is not None:
                    yield window
                    offset += len(window)
                    continue
            end = offset + WINDOW
            while offset < end:
                count = os.preadv(self._descriptor, [buffer], offset)
                if not count:
                    return
                yield buffer[:count]
                offset += count

    @property
    def undisturbed(self) -> bool:
        """Whether nobody could write to it since it was opened."""
        return self._still_leased() and _same(self.status, os.fstat(self._descriptor))

    @contextmanager
    def _mapped(self, offset: int) -> Iterator[memoryview | None]:
        """The window at `offset` as it lies in memory; None where it has to be read."""
        length = min(WINDOW, self.status.st_size - offset)
        window = self._map(offset, length) if length > _BUFFER and self._still_leased() else None
        # Asked for again: from here on, a writer waits for as long as the system lets him.
        if window is None or not self._still_leased():
            yield None
            return
        with window, memoryview(window) as view:
            yield view

    def _map(self, offset: int, length: int) -> mmap.mmap | None:
        try:
            for look in range(_LOOKS):
                place = offset + (length - 1) * look // (_LOOKS - 1)
                os.preadv(self._descriptor, [bytearray(1)], place, os.RWF_NOWAIT)
            window = mmap.mmap(
                self._descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset
            )
        except (OSError, ValueError):  # not in memory, or not to be mapped
            return None
        try:
            window.madvise(_POPULATE_READ)
        except OSError:
            window.close()
            return None
        return window

    def _still_leased(self) -> bool:
        held = self._leased and fcntl.fcntl(self._descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK
        if self._leased and not held:
            self._give_back()
        return held

    def _give_back(self) -> None:
        # Closing is not enough where another thread has forked.
        if self._leased:
            self._leased = False
            fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def hash_plain(
    path: Path, on_bytes: OnBytes | None = None, *, into: Sink | None = None, fresh: bool = False
) -> Hashed:
    """Hash a regular file in one pass, and copy it to `into` if given.

    `on_bytes` hears of each block's size, and may raise to stop. Raises as `PlainFile` does, and
    SinkError when `into` refuses.
    """
    hasher, size = hashlib.sha256(), 0
    with PlainFile(path, fresh=fresh) as file:
        for block in file.blocks():
            hasher.update(block)
            if into is not None:
                _write(into, block)
            size += len(block)
            if on_bytes is not None:
                on_bytes(len(block))
        return Hashed(size, hasher.hexdigest(), file.status, file.began_ns, file.undisturbed)


def in_threads(
    act: Callable[[Item, OnBytes], Result],
    items: Sequence[Item],
    *,
    size: Callable[[Item], int],
    on_bytes: OnBytes | None = None,
    gently: bool = False,
) -> list[Result]:
    """`act(item, on_bytes)` for each item on all processors, the largest first; results in order.

    What `act` hands to its `on_bytes` is handed on. When one raises, or Ctrl-C is pressed, the
    others end at their next block and the first error is raised. `gently` lets others go first.
    """
    stopping = threading.Event()

    def heard(count: int) -> None:
        if stopping.is_set():
            raise _StoppedError
        if on_bytes is not None:
            on_bytes(count)

    def ready() -> None:
        if gently:
            give_way(threading.get_native_id())

    order = sorted(range(len(items)), key=lambda index: -size(items[index]))
    with ThreadPoolExecutor(_processors(), initializer=ready) as pool:
        futures = {index: pool.submit(act, items[index], heard) for index in order}
        try:
            for future in as_completed(futures.values()):
                future.result()
        except BaseException:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [futures[index].result() for index in range(len(items))]


def _write(into: Sink, block: memoryview) -> None:
    try:
        into.write(block)
    except OSError as error:
        raise SinkError(error.errno, error.strerror) from error


class _StoppedError(Exception):
    """Ends the work of a thread whose result nobody wants any more."""


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def _lease(descriptor: int) -> bool:
    """Take a read lease; False where there is none to be had."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, _QUIET_SIGNAL)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return False
    return True


def _same(before: os.stat_result, now: os.stat_result) -> bool:
    return all(
        getattr(before, name) == getattr(now, name)
        for name in ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
    )
