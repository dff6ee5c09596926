"""Unpacks an archive by writing regular files into a new folder, each under a name that was judged.

Nothing is ever extracted as the archive says: no links, no devices, no modes, no owners. Names,
counts, sizes and ratios have bounds, and what no entry holds is refused, before a folder's own
rules are asked.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.errors import UserError
from registry.files import disk_error
from registry.intake.paths import Spellings, path_fault
from registry.intake.signatures import is_tar
from registry.intake.source import opened
from registry.intake.tar_stream import BLOCK, EntryError, TarError, members
from registry.intake.zip_layout import content, read_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from registry.intake.source import Source

_CHUNK = 1 << 20
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst")


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may become: counts, bytes, and bytes out for each byte in."""

    files: int = 10_000
    total_bytes: int = 256 * 1024**3
    file_bytes: int = 128 * 1024**3
    ratio: int = 200
    free_ratio_bytes: int = 64 * 1024**2
    """So much may come out of any archive, whatever its ratio."""


def is_archive(path: Path) -> bool:
    """Whether `path` is a file that is named as an archive is."""
    return path.is_file() and path.name.endswith(SUFFIXES)


def require_source(path: Path) -> None:
    """Raise UserError unless `path` is a folder or an archive; what is in it is looked at later."""
    if not is_archive(path) and not path.is_dir():
        what = "is not a folder, nor an archive that is read" if path.exists() else "no such folder"
        raise UserError(what, where=str(path), remedy="give the model's folder, or a .zip or .tar")


def unpack(archive: Path, target: Path, limits: Limits | None = None) -> Path:
    """Write the files of `archive` below `target`, an empty folder; returns the model's folder.

    That is `target`, or the one folder that everything lies in. Raises UserError for the first
    entry that may not come in, PermanentEngineError when the disk is full.
    """
    with opened(archive) as source:
        writer = _Writer(source, target, limits or Limits())
        try:
            if source.name.endswith(".zip"):
                _unzip(source, writer)
            else:
                _untar(source, writer)
        except OSError as error:
            raise disk_error(target, error) from error
    if not writer.files:
        raise UserError("the archive holds no file", where=str(archive))
    inside = sorted(target.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else target


class _Writer:
    """Takes entries one by one, and counts."""

    def __init__(self, source: Source, target: Path, limits: Limits) -> None:
        self.files = 0
        self._source = source
        self._target = target
        self._limits = limits
        self._spellings = Spellings()
        self._entries = 0
        self._written = 0

    def take(self, name: str, size: int, pieces: Iterator[bytes], *, is_folder: bool) -> None:
        """Write one file, or make one folder. Raises UserError that names the entry."""
        path = name.removeprefix("./").removesuffix("/") if is_folder else name.removeprefix("./")
        if is_folder and path in {"", "."}:
            return
        fault = path_fault(path) or self._spellings.fault(path, is_folder=is_folder)
        if fault:
            raise self._refused(name, fault)
        self._entries += 1
        if self._entries > self._limits.files:
            raise self._source.refused(f"holds more than {self._limits.files} entries")
        self._check_size(name, size)
        if is_folder:
            (self._target / path).mkdir(parents=True, exist_ok=True)
            return
        self.files += 1
        (self._target / path).parent.mkdir(parents=True, exist_ok=True)
        with (self._target / path).open("xb") as file:
            for piece in pieces:
                self._written += len(piece)
                self._check_ratio()
                file.write(piece)

    def _check_size(self, name: str, size: int) -> None:
        limits = self._limits
        if size > limits.file_bytes:
            raise self._refused(name, f"would be {size} bytes")
        if self._written + size > limits.total_bytes:
            raise self._source.refused(f"would unpack to more than {limits.total_bytes} bytes")
        if self._written + size > self._most:
            raise self._bomb()

    def _check_ratio(self) -> None:
        if self._written > self._most:
            raise self._bomb()

    @property
    def _most(self) -> int:
        return max(self._limits.free_ratio_bytes, self._limits.ratio * self._source.size)

    def _bomb(self) -> UserError:
        return self._source.refused(
            f"would unpack to more than {self._limits.ratio} times its size, as bombs do",
            "give the folder itself",
        )

    def _refused(self, name: str, fault: str) -> UserError:
        shown = name.encode(errors="backslashreplace").decode()
        return self._source.refused(f"its entry {shown!r} {fault}", "pack the model again")


def _unzip(source: Source, writer: _Writer) -> None:
    for entry in read_entries(source):
        pieces = content(source, entry)
        writer.take(entry.name, entry.size, pieces, is_folder=entry.is_folder)
        if entry.is_folder and entry.size:
            raise source.refused(f"its folder {entry.name!r} has bytes of its own")


def _untar(source: Source, writer: _Writer) -> None:
    """A tar, plain or compressed by what its first bytes say, which its name must say as well."""
    try:
        for member in members(_stream(source)):
            writer.take(member.name, member.size, member.pieces, is_folder=member.is_folder)
    except EntryError as error:
        raise source.refused(str(error), "pack the model again") from error
    except TarError as error:
        raise source.refused(f"is no archive to unpack: {error}", "pack the model again") from error
    except zlib.error as error:
        raise source.damaged(f"it cannot be unpacked: {error}") from error


def _stream(source: Source) -> Callable[[int], bytes]:
    """Reads what the tar's bytes are, from the beginning on, whichever way it is compressed."""
    head, name = source.head(BLOCK), source.name
    if head.startswith(b"\x1f\x8b") and name.endswith((".tar.gz", ".tgz")):
        return _Joined(_inflated(source)).read
    if head.startswith(b"\x28\xb5\x2f\xfd") and name.endswith(".tar.zst"):
        return _Joined(_unzstd(source)).read
    if is_tar(head) and name.endswith(".tar"):
        return _Joined(_raw(source)).read
    raise source.refused(
        "is not the archive that its name says", f"there are {', '.join(SUFFIXES)}"
    )


class _Joined:
    """Pieces of any size, read as many bytes at a time as are asked for."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = bytearray()

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer at the end."""
        while len(self._held) < size and (piece := next(self._pieces, None)) is not None:
            self._held += piece
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken


def _raw(source: Source) -> Iterator[bytes]:
    for at in range(0, source.size, _CHUNK):
        yield source.read(at, min(_CHUNK, source.size - at))


def _inflated(source: Source) -> Iterator[bytes]:
    """What gzip members, one behind the other to the last byte, unpack to."""
    inflate = zlib.decompressobj(31)
    for piece in _raw(source):
        left = piece
        while left:
            if inflate.eof:
                inflate = zlib.decompressobj(31)
            yield inflate.decompress(left, _CHUNK)
            left = inflate.unused_data or inflate.unconsumed_tail
    yield inflate.flush()
    if not inflate.eof:
        raise TarError("it is cut short")


def _unzstd(source: Source) -> Iterator[bytes]:
    """What zstd frames unpack to; Arrow's reader keeps zstd's own bound of its window."""
    import pyarrow as pa

    # Arrow wants a file of its own, which it closes.
    with os.fdopen(os.dup(source.descriptor), "rb") as file:
        file.seek(source.base)
        try:
            with pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd") as stream:
                while piece := stream.read(_CHUNK):
                    yield piece
        except OSError as error:
            raise TarError(f"it cannot be unpacked: {error}") from error
