"""A file from outside, opened once and read by bounded pieces; every reader is handed one.

It never reads a whole file unasked, never follows a link, and turns every fault into a UserError.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.errors import UserError
from registry.manifest import open_plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Source:
    """`size` bytes from `base` of an open file; `name` is its own name, `where` its path."""

    descriptor: int
    size: int
    name: str
    where: str
    base: int = 0

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`. Raises UserError when the file has fewer."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise self.damaged(f"bytes {offset} to {offset + length} of {self.size}")
        content = bytearray()
        while len(content) < length:
            at = self.base + offset + len(content)
            try:
                piece = os.pread(self.descriptor, length - len(content), at)
            except OSError as error:
                raise self.refused(f"cannot be read: {error.strerror}") from error
            if not piece:
                raise self.refused("changed while it was read", "register it when it is at rest")
            content += piece
        return bytes(content)

    def head(self, length: int) -> bytes:
        """The first `length` bytes, or all."""
        return self.read(0, min(length, self.size))

    def tail(self, length: int) -> bytes:
        """The last `length` bytes, or all."""
        length = min(length, self.size)
        return self.read(self.size - length, length)

    def whole(self, limit: int, what: str) -> bytes:
        """Every byte. Raises UserError when there are more than `limit` for `what`."""
        if self.size > limit:
            raise self.refused(f"is larger than {limit >> 20} MiB, too large for {what}")
        return self.read(0, self.size)

    def section(self, offset: int, size: int, name: str) -> Source:
        """The part of `size` bytes from `offset`, as a source of its own."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise self.damaged(f"{name} would reach beyond its end")
        return Source(self.descriptor, size, name, self.where, self.base + offset)

    def refused(self, what: str, remedy: str = "remove it, or save the model again") -> UserError:
        """The error that says `what` is wrong with this file."""
        return UserError(what, where=self.where, remedy=remedy)

    def damaged(self, what: str) -> UserError:
        """The error for a file whose own words do not fit its bytes."""
        return self.refused(f"is damaged or cut short: {what}", "copy the file again")


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """The file at `path`. Raises UserError when it is no regular file or cannot be read."""
    try:
        file = open_plain(path)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error
    with file:
        size = os.fstat(file.fileno()).st_size
        yield Source(file.fileno(), size, path.name, str(path))


def from_bytes_file(descriptor: int, source: Source, name: str) -> Source:
    """What was unpacked from `source` to an open file, as a source with the same place."""
    return Source(descriptor, os.fstat(descriptor).st_size, name, source.where)
