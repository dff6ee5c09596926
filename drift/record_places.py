"""Where a prediction log lies: a folder of this machine, or anything else that keeps files by path.

The reader and those who keep the log in order know a place by the few calls below. A place knows
nothing of records. Paths are relative to it, with `/` between their parts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from registry.files import fsync_folder, make_folder

if TYPE_CHECKING:
    from pathlib import Path

STAGED = ".tmp"
"""Ends the name of a file that is being written; such names begin with a dot."""


class Place(Protocol):
    """Files by path. Every call raises OSError when the place cannot be reached."""

    @property
    def name(self) -> str:
        """The place as a person writes it."""
        ...

    def folders(self, path: str) -> tuple[str, ...]:
        """Names of the folders in the folder `path`, sorted; none when it is not there."""
        ...

    def files(self, path: str) -> dict[str, int]:
        """Sizes in bytes of the files in the folder `path`, by name; none when it is not there."""
        ...

    def read(self, path: str) -> bytes:
        """The whole file. Raises FileNotFoundError when it is gone."""
        ...

    def write(self, path: str, content: bytes) -> None:
        """Make the file durable, whole at once: a reader sees nothing of it before."""
        ...

    def delete(self, path: str) -> None:
        """Remove the file, and its folder with the last one; one that is gone is no error."""
        ...


@dataclass(frozen=True, slots=True)
class LocalPlace:
    """The folder `root`, there or not."""

    root: Path

    @property
    def name(self) -> str:
        """See Place."""
        return str(self.root)

    def folders(self, path: str) -> tuple[str, ...]:
        """See Place."""
        return tuple(sorted(entry.name for entry in self._entries(path) if entry.is_dir()))

    def files(self, path: str) -> dict[str, int]:
        """See Place."""
        found = {}
        for entry in self._entries(path):
            try:
                if entry.is_file():
                    found[entry.name] = entry.stat().st_size
            except FileNotFoundError:
                continue
        return dict(sorted(found.items()))

    def read(self, path: str) -> bytes:
        """See Place."""
        return (self.root / path).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        """See Place. What a crash leaves has a name that no reader takes for a part's."""
        target = self.root / path
        make_folder(target.parent)
        staged = target.with_name(f".{target.name}{STAGED}")
        with staged.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.rename(target)
        fsync_folder(target.parent)

    def delete(self, path: str) -> None:
        """See Place."""
        target = self.root / path
        target.unlink(missing_ok=True)
        try:
            target.parent.rmdir()
        except OSError:
            return  # it holds others, or another made it empty first

    def _entries(self, path: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / path) as entries:
                return list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return []
