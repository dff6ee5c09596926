"""Takes damaged files out of the way, and keeps them for whoever asks what happened.

A file is renamed, never copied or deleted: what has it open or mapped goes on with the same bytes.
A note of why lies beside it before it is moved, so nothing is ever there without one.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.errors import PermanentEngineError
from registry.files import disk_error, fsync_folder, make_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Inode = tuple[int, int]
"""Device and number: which file it was that was looked at."""


@dataclass
class Quarantine:
    """`root`/files/... holds what was below `base`, `root`/notes/ why. Nothing is made before."""

    root: Path
    base: Path
    _taken: int = field(default=0, init=False)

    def take(self, path: Path, inode: Inode, note: Mapping[str, Any]) -> Path | None:
        """Move `path` here and return where it is now; None when another file is in its place.

        Raises PermanentEngineError when the disk refuses; then the file is where it was.
        """
        if inode_of(path) != inode:
            return None
        self._taken += 1
        target = self.root / "files" / path.relative_to(self.base)
        why = self.root / "notes" / f"{self._taken:04}.json"
        content = {**note, "path": str(path), "moved_to": str(target)}
        try:
            make_folder(target.parent)
            write_atomic(why, json.dumps(content, indent=2, sort_keys=True).encode() + b"\n")
            return self._move(path, target, inode)
        except (OSError, PermanentEngineError) as error:
            if inode_of(target) != inode:
                with suppress(OSError):
                    why.unlink(missing_ok=True)
            raise (
                error if isinstance(error, PermanentEngineError) else disk_error(target, error)
            ) from error

    @staticmethod
    def _move(path: Path, target: Path, inode: Inode) -> Path | None:
        path.rename(target)
        if inode_of(target) != inode:
            # Somebody put a good one there in the last instant: it goes back.
            target.rename(path)
            return None
        fsync_folder(target.parent)
        fsync_folder(path.parent)
        return target


def inode_of(path: Path) -> Inode | None:
    """Of the file, folder or link itself; None when nothing is there."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
