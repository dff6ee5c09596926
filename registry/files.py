"""Writes that survive: staged beside their target, fsynced, renamed, and the folder fsynced.

A reader sees the old bytes or the new ones, never a part. A full disk leaves the target as it was.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import PermanentEngineError, RetryableEngineError

if TYPE_CHECKING:
    from collections.abc import Iterator


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces: the same value is always the same bytes.

    Raises ValueError for NaN and infinities, which JSON does not have.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `content`, durably. Raises PermanentEngineError when the disk refuses."""
    try:
        with _staged_file(path, content, mode) as staged:
            staged.replace(path)
        fsync_folder(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error


def create_once(path: Path, content: bytes, *, mode: int = 0o644) -> bool:
    """Write `path` durably unless it is there; whether this call, of all processes', did it.

    Raises PermanentEngineError when the disk refuses.
    """
    try:
        with _staged_file(path, content, mode) as staged:
            try:
                os.link(staged, path)
            except FileExistsError:
                return False
        fsync_folder(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error
    return True


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, where they are missing, durably."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        fsync_folder(folder.parent)


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Make every file and name below `folder` durable."""
    for root, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            descriptor = os.open(Path(root) / name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        fsync_folder(Path(root))


@contextmanager
def staged_folder(staging: Path, target: Path) -> Iterator[Path]:
    """Yield a new folder below `staging`; when the block ends well, it becomes `target`.

    `staging` and `target` are on one file system and `target` does not exist. When the block
    raises, the staged folder is removed. Raises PermanentEngineError when the disk refuses.
    """
    try:
        staging.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=staging))
        try:
            yield staged
            staged.chmod(0o755)
            fsync_tree(staged)
            make_folder(target.parent)
            staged.rename(target)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        fsync_folder(target.parent)
    except OSError as error:
        raise disk_error(target, error) from error


@contextmanager
def locked(path: Path, *, timeout_s: float, busy: str) -> Iterator[None]:
    """Hold the lock file `path`, which no other process does meanwhile; its folder is made.

    Raises RetryableEngineError that says `busy` when another held it for `timeout_s`, and
    PermanentEngineError when the disk refuses the file.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=timeout_s)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise RetryableEngineError(busy, where=str(path.parent)) from error
    except OSError as error:
        raise disk_error(path, error) from error
    try:
        yield
    finally:
        lock.release()


def disk_error(path: Path, error: OSError) -> PermanentEngineError:
    """The one line for a disk that refuses a write."""
    return PermanentEngineError(
        f"cannot write: {error.strerror or error}",
        where=str(path),
        remedy="nothing was changed; free space or permissions, then run the command again",
    )


@contextmanager
def _staged_file(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """A durable file beside `path`, gone when the block ends unless it was renamed."""
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    staged = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        yield staged
    finally:
        staged.unlink(missing_ok=True)


def _raise(error: OSError) -> None:
    """For `os.walk`, which passes over what it cannot list unless told otherwise."""
    raise error
