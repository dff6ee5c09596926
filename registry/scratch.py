"""Scratch folders that do not outlive their process: one that a killed process left is swept.

Each is locked by its maker for as long as it is used. The kernel drops the lock with the process,
so nothing here guesses from ages or process ids. Only for a folder that holds nothing else.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """A new folder below `root`, removed when the block ends. Raises OSError."""
    root.mkdir(parents=True, exist_ok=True)
    # The lock on `root` keeps a sweeper off a folder that is made but not locked yet.
    with _locked(root):
        _sweep(root)
        folder = Path(tempfile.mkdtemp(dir=root))
        lock = lock_folder(folder, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(root: Path) -> None:
    for left in root.iterdir():
        with suppress(OSError):  # used by a living process, or removed by it just now
            lock = lock_folder(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = lock_folder(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


def lock_folder(folder: Path, operation: int) -> int:
    """A descriptor that holds the lock `operation` (of fcntl.flock); closing it lets go.

    Raises OSError when the folder is not there, or is locked and `operation` does not wait.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, operation)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
