"""Manifests: which files, how large, which bytes. An artifact's digest is its manifest's hash.

Names are part of the digest, so a renamed file is another artifact.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from registry.errors import IntegrityError, UserError
from registry.files import canonical_json
from registry.hashing import hash_plain, in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from io import FileIO

    from registry.hash_memory import HashMemory


@dataclass(frozen=True, slots=True, order=True)
class FileEntry:
    """One file: POSIX path inside the folder, size in bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The files of a folder, sorted by path."""

    files: tuple[FileEntry, ...]

    @classmethod
    def of_entries(cls, entries: Iterable[FileEntry]) -> Manifest:
        """A manifest of entries in any order."""
        return cls(tuple(sorted(entries)))

    @classmethod
    def of_folder(
        cls,
        folder: Path,
        on_bytes: Callable[[int], None] | None = None,
        memory: HashMemory | None = None,
    ) -> Manifest:
        """Hash every file below `folder`, in threads; `on_bytes` hears of each block's size.

        With a `memory`, files that it knows are not read, and it is told of those that are, so a
        reading that was killed goes on where it stood. Raises UserError for a link, a special
        file, a name that is not NFC UTF-8, or no file.
        """
        try:
            return cls(
                tuple(
                    in_threads(
                        lambda name, heard: hash_file(folder, name, heard, memory),
                        list_files(folder),
                        size=lambda name: size_of(folder / name),
                        on_bytes=on_bytes,
                    )
                )
            )
        finally:
            if memory is not None:
                memory.save()

    @classmethod
    def from_json(cls, content: bytes | str) -> Manifest:
        """Read what `to_json` wrote.

        Raises IntegrityError when it is something else, or names a file that no folder could hold
        or that would leave its folder.
        """
        try:
            rows = json.loads(content)["files"]
            files = tuple(_entry(row["path"], row["size"], row["sha256"]) for row in rows)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise IntegrityError("is not a manifest") from error
        _refuse_disorder([file.path for file in files])
        return cls(files)

    def to_dict(self) -> dict[str, Any]:
        """A plain value, the one that is hashed."""
        return {
            "files": [
                {"path": file.path, "size": file.size, "sha256": file.sha256} for file in self.files
            ]
        }

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.to_dict())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hex."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @cached_property
    def by_path(self) -> Mapping[str, FileEntry]:
        """Entries by their path."""
        return {file.path: file for file in self.files}

    def verify_folder(self, folder: Path) -> None:
        """Raise IntegrityError that names the first file that is missing, extra or changed."""
        try:
            found = Manifest.of_folder(folder)
        except UserError as error:
            raise IntegrityError(error.what, where=error.where) from error
        self.verify(found, str(folder))

    def verify(self, found: Manifest, where: str) -> None:
        """Raise IntegrityError when `found` is not this manifest."""
        for path in sorted(self.by_path.keys() | found.by_path.keys()):
            if path not in found.by_path:
                raise IntegrityError(f"{path} is missing", where=where)
            if path not in self.by_path:
                raise IntegrityError(f"{path} is not in the manifest", where=where)
            if found.by_path[path] != self.by_path[path]:
                raise IntegrityError(f"{path} is not the file that was recorded", where=where)


def is_digest(value: str) -> bool:
    """Whether `value` is a SHA-256 as written everywhere here: 64 lower-case hex digits."""
    return len(value) == 64 and not set(value) - set("0123456789abcdef")


def list_files(folder: Path) -> list[str]:
    """POSIX paths of all files below `folder`, sorted. Raises UserError as `of_folder` does."""
    if not folder.is_dir() or folder.is_symlink():
        raise UserError("is not a folder", where=str(folder))
    names = []
    try:
        for root, folders, files in os.walk(folder, onerror=_raise):
            for name in [*folders, *files]:
                _refuse_odd(Path(root) / name, is_folder=name in folders)
            names += [(Path(root) / name).relative_to(folder).as_posix() for name in files]
    except OSError as error:
        where = str(error.filename or folder)
        raise UserError(f"cannot be read: {error.strerror}", where=where) from error
    if not names:
        raise UserError("the folder holds no file", where=str(folder))
    return sorted(names)


def hash_file(
    folder: Path,
    name: str,
    on_bytes: Callable[[int], None] | None = None,
    memory: HashMemory | None = None,
) -> FileEntry:
    """Size and SHA-256 of one file below `folder`. Raises UserError when it cannot be read."""
    path = folder / name
    try:
        if memory is not None:
            status = path.lstat()
            known = memory.find(status) if stat.S_ISREG(status.st_mode) else None
            if known is not None:
                return FileEntry(name, status.st_size, known)
        found = hash_plain(path, on_bytes)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if memory is not None:
        memory.remember(found)
    return FileEntry(name, found.size, found.sha256)


def open_plain(path: Path) -> FileIO:
    """Open a regular file to read. Raises UserError for anything else, OSError when it cannot.

    No link is followed and no pipe waited for, even if one appeared since the folder was listed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    file = os.fdopen(descriptor, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise UserError("is not a regular file", where=str(path))
    return file


def size_of(path: Path) -> int:
    """Bytes of the file as listed; 0 when it is gone."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _raise(error: OSError) -> None:
    """For `os.walk`, which passes over what it cannot list unless told otherwise."""
    raise error


def _entry(path: object, size: object, sha256: object) -> FileEntry:
    if type(path) is not str or type(size) is not int or type(sha256) is not str:
        raise IntegrityError("the manifest has a row with a value of the wrong type")
    path.encode()  # a lone surrogate raises ValueError
    if (
        "\\" in path
        or "\0" in path
        or any(part in {"", ".", ".."} for part in path.split("/"))
        or unicodedata.normalize("NFC", path) != path
    ):
        raise IntegrityError(f"the manifest has a path that no artifact can have: {path!r}")
    if size < 0 or not is_digest(sha256):
        raise IntegrityError(f"the manifest has no size and SHA-256 of {path}")
    return FileEntry(path, size, sha256)


def _refuse_disorder(paths: list[str]) -> None:
    for before, path in pairwise(paths):
        if before >= path:
            raise IntegrityError(f"the manifest's files are not sorted, or {path} stands twice")
    folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    both = folders.intersection(paths)
    if both:
        raise IntegrityError(f"the manifest has {min(both)} as a file and as a folder")


def _refuse_odd(path: Path, *, is_folder: bool) -> None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise UserError("symbolic links are refused", where=str(path), remedy="put the file itself")
    if not is_folder and not stat.S_ISREG(status.st_mode):
        raise UserError("is not a regular file", where=str(path))
    try:
        path.name.encode()
    except UnicodeEncodeError as error:
        raise UserError("has a name that is not UTF-8", where=repr(str(path))) from error
    if "\\" in path.name:
        raise UserError(
            "has a backslash in its name",
            where=str(path),
            remedy="rename it: elsewhere it would be two folders",
        )
    if unicodedata.normalize("NFC", path.name) != path.name:
        raise UserError(
            "has a name that is not in Unicode's normal form C",
            where=str(path),
            remedy="rename it: two spellings of one name would be two artifacts",
        )
