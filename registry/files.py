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

from registry.errors import PermanentEngineError

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
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, staged = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            Path(staged).replace(path)
        except BaseException:
            Path(staged).unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Make every file and name below `folder` durable."""
    for root, _, names in os.walk(folder):
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
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.rename(target)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        fsync_folder(target.parent)
    except OSError as error:
        raise disk_error(target, error) from error


def disk_error(path: Path, error: OSError) -> PermanentEngineError:
    """The one line for a disk that refuses a write."""
    return PermanentEngineError(
        f"cannot write: {error.strerror or error}",
        where=str(path),
        remedy="nothing was changed; free space or permissions, then run the command again",
    )
