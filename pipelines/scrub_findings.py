"""What a scrub finds, as values, and how one file is looked at: read from the disk, never recalled.

A file is never judged by one glance while others write: what is not as expected is looked at again
before it counts, since a good copy may have taken its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.quarantine import inode_of
from registry.errors import UserError
from registry.hashing import hash_plain, in_threads
from registry.manifest import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pipelines.quarantine import Inode

MISSING = "is missing"
CHANGED = "was changed on disk"
EXTRA = "belongs to nothing that was recorded"


@dataclass(frozen=True, slots=True)
class Expected:
    """One file and the SHA-256 that it must have (empty: it must not be there).

    `digests` are the folders of the store that hold it, `release` the release (model, number), and
    `artifact` the copy of a registered folder (model, digest) that it is part of.
    """

    path: Path
    sha256: str = ""
    digests: frozenset[str] = frozenset()
    release: tuple[str, int] | None = None
    artifact: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that is not as recorded. `inode` is what was looked at, None where nothing is.

    `stays`: it is told of and left alone, since moving it would help nobody.
    """

    place: str
    what: str
    expected: Expected
    found: str = ""
    inode: Inode | None = None
    changed_at: float | None = None
    """UTC epoch seconds of the file's last change, as the kernel dates it."""
    stays: bool = False

    @property
    def path(self) -> Path:
        """Where."""
        return self.expected.path


@dataclass
class Checked:
    """A place that was checked."""

    place: str
    files: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    remark: str = ""
    cut_off: bool = False
    """Whether nothing could be looked at."""

    def to_json(self) -> dict[str, Any]:
        """For the table."""
        return {
            "place": self.place,
            "files": self.files,
            "bytes": self.bytes,
            "findings": len(self.findings),
            "remark": self.remark,
            "cut_off": self.cut_off,
        }


def check_files(
    place: str, wanted: Iterable[Expected], on_bytes: Callable[[int], None] | None
) -> Checked:
    """Hash every file from the disk, giving way to others."""
    files, checked = list(wanted), Checked(place)
    results = in_threads(
        lambda one, heard: _look(place, one, heard),
        files,
        size=lambda one: size_of(one.path),
        on_bytes=on_bytes,
        gently=True,
    )
    for size, finding in results:
        checked.files += finding is None or finding.inode is not None
        checked.bytes += size
        if finding is not None:
            checked.findings.append(finding)
    return checked


def _look(place: str, wanted: Expected, heard: Callable[[int], None]) -> tuple[int, Finding | None]:
    size, finding = _glance(place, wanted, heard)
    if finding is not None:
        size, finding = _glance(place, wanted, heard)
    return size, finding


def _glance(
    place: str, wanted: Expected, heard: Callable[[int], None]
) -> tuple[int, Finding | None]:
    inode = inode_of(wanted.path)
    if inode is None:
        return 0, Finding(place, MISSING, wanted) if wanted.sha256 else None
    try:
        found = hash_plain(wanted.path, heard, fresh=True)
    except FileNotFoundError:
        return 0, Finding(place, MISSING, wanted) if wanted.sha256 else None
    except UserError as error:
        return 0, Finding(place, error.what, wanted, inode=inode)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        return 0, Finding(place, what, wanted, inode=inode)
    if found.sha256 == wanted.sha256:
        return found.size, None
    status = found.status
    return found.size, Finding(
        place,
        CHANGED if wanted.sha256 else EXTRA,
        wanted,
        found=found.sha256,
        inode=(status.st_dev, status.st_ino),
        changed_at=status.st_ctime,
    )
