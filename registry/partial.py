"""What a killed copy of a folder had done, taken over by the next one of the same folder.

Each file is noted when it is durable, with the source's identity at that time, so a source that
changed since is copied anew. The kernel drops the lock with the process, as in `scratch`. What
another folder's killed copy left is swept: a disk is not filled by what nobody comes back for.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.hashing import hash_plain
from registry.scratch import lock_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.hashing import Hashed, OnBytes

_NOTES = "notes"
_WORTH_NOTING = 1 << 20
"""Smaller files are copied again sooner than a note of them is written."""


class PartialCopy:
    """Copies below `folder`, one file for each name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found = dict(_read(folder / _NOTES))

    def place(self, name: str) -> Path:
        """Where the copy of `name` lies."""
        return self.folder / hashlib.sha256(name.encode()).hexdigest()

    def find(self, name: str, status: os.stat_result, on_bytes: OnBytes) -> tuple[int, str] | None:
        """Size and SHA-256 of a copy that is whole and of this source; None when it is to be made.

        The copy itself is hashed: a note is a claim.
        """
        if self._found.get(name, [None])[0] != _identity(status):
            return None
        try:
            copy = hash_plain(self.place(name), on_bytes)
        except OSError:
            return None
        return (copy.size, copy.sha256) if copy.sha256 == self._found[name][1] else None

    def note(self, name: str, found: Hashed) -> None:
        """The copy of `name` is durable. Raises OSError."""
        if found.size < _WORTH_NOTING or not found.undisturbed:
            return
        line = json.dumps([name, _identity(found.status), found.sha256]).encode() + b"\n"
        descriptor = os.open(self.folder / _NOTES, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def partial_copy(root: Path, source: Path) -> Iterator[PartialCopy]:
    """A folder below `root` for copies of `source`; one that a killed process left, if there is.

    Removed when the block ends or fails; a process that is stopped leaves it. Raises OSError.
    """
    root.mkdir(parents=True, exist_ok=True)
    wanted = root / hashlib.sha256(os.fsencode(source.absolute())).hexdigest()[:32]
    # The lock on `root` keeps a sweeper off a folder that is made but not locked yet.
    outer = lock_folder(root, fcntl.LOCK_EX)
    try:
        _sweep(root, wanted)
        folder, lock = _claim(root, wanted)
    finally:
        os.close(outer)
    try:
        yield PartialCopy(folder)
    except (KeyboardInterrupt, SystemExit):
        os.close(lock)
        raise
    except BaseException:
        _remove(folder, lock)
        raise
    _remove(folder, lock)


def _claim(root: Path, wanted: Path) -> tuple[Path, int]:
    """The folder of this source, or one of its own while another process copies the same."""
    with suppress(BlockingIOError):
        while True:
            wanted.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # whoever had it removes it just now
                lock = lock_folder(wanted, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(wanted, lock):
                    return wanted, lock
                os.close(lock)
    mine = Path(tempfile.mkdtemp(dir=root))
    return mine, lock_folder(mine, fcntl.LOCK_EX)


def _is_at(folder: Path, lock: int) -> bool:
    """Whether the folder that is locked is the one of that name, and not one that was removed."""
    try:
        return os.path.samestat(os.fstat(lock), folder.stat())
    except FileNotFoundError:
        return False


def _sweep(root: Path, wanted: Path) -> None:
    for left in root.iterdir():
        if left == wanted:
            continue
        with suppress(OSError):  # used by a living process, or removed by it just now
            _remove(left, lock_folder(left, fcntl.LOCK_EX | fcntl.LOCK_NB))


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def _identity(status: os.stat_result) -> list[int]:
    names = ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
    return [getattr(status, name) for name in names]


def _read(path: Path) -> Iterator[tuple[str, list[Any]]]:
    """Notes by name; a line that was cut short ends them."""
    try:
        for line in path.read_bytes().splitlines():
            name, identity, sha256 = json.loads(line)
            yield name, [identity, sha256]
    except (OSError, ValueError):
        return
