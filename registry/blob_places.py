"""A place that keeps files of any size by path: a folder, or a bucket behind the same few calls.

A place knows nothing of what it keeps and is not trusted: whoever reads hashes what comes. Paths
are relative to it, with `/` between their parts. Every call raises OSError when the place cannot be
reached.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from registry.errors import RetryableEngineError
from registry.files import fsync_folder, make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 4 << 20
"""Bytes that are moved at a time."""


class BlobPlace(Protocol):
    """Files by path."""

    @property
    def name(self) -> str:
        """The place as a person writes it."""
        ...

    def size(self, path: str) -> int | None:
        """Size of the file in bytes; None when there is none."""
        ...

    def put(self, source: Path, path: str) -> None:
        """Keep a copy of `source`, whole at once: a reader sees nothing of it before."""
        ...

    def blocks(self, path: str) -> Iterator[bytes]:
        """The file's content. Raises FileNotFoundError when it is not there."""
        ...


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """The folder `root`, there or not; one that machines share, or a test's."""

    root: Path

    @property
    def name(self) -> str:
        """See BlobPlace."""
        return str(self.root)

    def size(self, path: str) -> int | None:
        """See BlobPlace."""
        try:
            return (self.root / path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, source: Path, path: str) -> None:
        """See BlobPlace."""
        target = self.root / path
        make_folder(target.parent)
        handle, name = tempfile.mkstemp(prefix=".put.", dir=target.parent)
        staged = Path(name)
        try:
            with os.fdopen(handle, "wb") as out, source.open("rb") as file:
                while block := file.read(BLOCK):
                    out.write(block)
                out.flush()
                os.fchmod(out.fileno(), 0o444)
                os.fsync(out.fileno())
            staged.replace(target)
        finally:
            staged.unlink(missing_ok=True)
        fsync_folder(target.parent)

    def blocks(self, path: str) -> Iterator[bytes]:
        """See BlobPlace."""
        with (self.root / path).open("rb") as file:
            while block := file.read(BLOCK):
                yield block


@contextmanager
def reached(place: BlobPlace) -> Iterator[None]:
    """What a place that does not answer means for a command: RetryableEngineError."""
    try:
        yield
    except OSError as error:
        raise RetryableEngineError(
            " ".join(str(error).split())[:200],
            where=place.name,
            remedy="nothing is lost; run the command again when it answers",
        ) from error
