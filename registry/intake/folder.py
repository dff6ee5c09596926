"""Lists an incoming folder by what each name is on disk; nothing is opened and nothing followed.

Only regular files with one name each, of a size that the disk really holds, go on to be read.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry.errors import UserError
from registry.intake.paths import DEEPEST, Spellings, path_fault

if TYPE_CHECKING:
    from pathlib import Path

MOST_FILES = 20_000
_SMALL_HOLE = 16 * 1024**2
_SPECIAL = {
    stat.S_IFLNK: "is a symbolic link",
    stat.S_IFIFO: "is a pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a file from another one that was put in its place, or written to, meanwhile."""

    size: int
    device: int
    inode: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """The identity in what `stat` says."""
        return cls(
            status.st_size,
            status.st_dev,
            status.st_ino,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one file, by its path in the folder, does not come in."""

    path: str
    reason: str
    remedy: str = ""


@dataclass
class Listing:
    """Files that may be read, by path, and those that may not."""

    files: dict[str, Identity] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)


def list_folder(folder: Path) -> Listing:
    """Everything below `folder`.

    Raises UserError when it is no folder, cannot be listed, or holds more files than any model.
    """
    if not os.path.lexists(folder):
        raise UserError("no such folder", where=str(folder), remedy="give the model's folder")
    if folder.is_symlink() or not folder.is_dir():
        raise UserError("is not a folder", where=str(folder), remedy="give the model's folder")
    listing, spellings, waiting = Listing(), Spellings(), [""]
    while waiting:
        within = waiting.pop()
        try:
            with os.scandir(folder / within) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            for entry in entries:
                path = f"{within}/{entry.name}" if within else entry.name
                if _take(entry, path, listing, spellings):
                    waiting.append(path)
                _check_count(folder, listing)
        except OSError as error:
            where = str(error.filename or folder)
            raise UserError(f"cannot be read: {error.strerror}", where=where) from error
    return listing


def _check_count(folder: Path, listing: Listing) -> None:
    if len(listing.files) + len(listing.refusals) > MOST_FILES:
        raise UserError(
            f"holds more than {MOST_FILES} files", where=str(folder), remedy="give one model"
        )


def _take(entry: os.DirEntry[str], path: str, listing: Listing, spellings: Spellings) -> bool:
    """Note one name; True for a folder to look into."""
    status = entry.stat(follow_symlinks=False)
    is_folder = stat.S_ISDIR(status.st_mode)
    if reason := _fault(status, path) or spellings.fault(path, is_folder=is_folder):
        shown = path.encode(errors="backslashreplace").decode()
        listing.refusals.append(Refusal(shown, reason, "put a plain file there, or remove it"))
        return is_folder and path.count("/") < DEEPEST and not path_fault(path)
    if not is_folder:
        listing.files[path] = Identity.of(status)
    return is_folder


def _fault(status: os.stat_result, path: str) -> str:
    if special := _SPECIAL.get(stat.S_IFMT(status.st_mode)):
        return special
    if fault := path_fault(path):
        return fault
    if stat.S_ISDIR(status.st_mode):
        return ""
    # A hard link's bytes can be changed through its other name while they are read here.
    return "has another name elsewhere (a hard link)" if status.st_nlink > 1 else ""


def hole_fault(descriptor: int, size: int) -> str:
    """Why a file of holes is refused: it would be copied out as zeros; "" for a whole one."""
    if size <= _SMALL_HOLE:
        return ""
    at = held = 0
    while at < size:
        try:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data up to the end
                break
            return ""  # the file system does not tell
        at = os.lseek(descriptor, begin, os.SEEK_HOLE)
        held += at - begin
    empty = size - held
    if empty > _SMALL_HOLE and empty > held:
        return f"is sparse: {empty} of its {size} bytes are not on disk"
    return ""
