"""Reads a ZIP so that it has one reading: its entries tile the file, and both headers agree.

Readers differ in which of a ZIP's two lists of entries they believe, in what they take for its
beginning, and in what they do with a repeated name (APPNOTE.TXT 6.3.10, section 4.3). A file that
leaves them a choice is refused. Entries that overlap, the way of bombs, cannot tile.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.intake.source import Source

STORED, DEFLATED = 0, 8
MOST_ENTRIES = 20_000
_LARGEST_DIRECTORY = 1 << 24
_END, _END64, _LOCATOR = 22, 56, 20
_LOCAL = struct.Struct("<4s5H3L2H")
_CHUNK = 1 << 20
_LARGE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder of an archive; its bytes begin at `begin` of the archive."""

    name: str
    method: int
    compressed: int
    size: int
    crc: int
    begin: int

    @property
    def is_folder(self) -> bool:
        """Whether it stands for a folder."""
        return self.name.endswith("/")


def read_entries(source: Source) -> list[Entry]:
    """Every entry, in the order of its bytes.

    Raises UserError for an archive that has bytes of no entry, entries that share bytes, headers
    that differ, a link, a device, encryption, or a compression other than none and deflate.
    """
    start = _directory(source)
    try:
        with (
            os.fdopen(os.dup(source.descriptor), "rb") as file,
            zipfile.ZipFile(file) as archive,
        ):
            file_entries = archive.infolist()
            declared = archive.start_dir
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError) as error:
        raise source.damaged(f"it is no ZIP: {error}") from error
    except struct.error as error:
        raise source.damaged("it is no ZIP") from error
    if len(file_entries) > MOST_ENTRIES:
        raise source.refused(f"holds more than {MOST_ENTRIES} entries")
    if declared != start:
        raise source.damaged("its ZIP directory is not where it says")
    at, entries = 0, []
    for info in sorted(file_entries, key=lambda one: one.header_offset):
        _check_kind(source, info)
        if info.header_offset < at:
            raise source.refused(
                f"has entries that share bytes ({info.filename!r} and the one before), as ZIP "
                "bombs have"
            )
        if info.header_offset > at:
            raise source.refused(f"has {info.header_offset - at} bytes that no entry holds")
        entry, at = _local(source, info)
        entries.append(entry)
    if at != start:
        raise source.refused(f"has {start - at} bytes that no entry holds")
    return entries


def content(source: Source, entry: Entry) -> Iterator[bytes]:
    """What an entry unpacks to, in pieces, never more than it says.

    Raises UserError when that is another size than it says, or has another check sum.
    """
    crc = found = 0
    for piece in _pieces(source, entry):
        found += len(piece)
        if found > entry.size:
            raise source.refused(f"its entry {entry.name!r} unpacks to more than it says")
        crc = zlib.crc32(piece, crc)
        yield piece
    if found != entry.size:
        raise source.damaged(f"its entry {entry.name!r} unpacks to less than it says")
    if crc != entry.crc:
        raise source.refused(
            f"has an entry {entry.name!r} whose check sum is wrong", "copy the file again"
        )


def _directory(source: Source) -> int:
    """Where the central directory begins, by the end record: the file's last bytes."""
    if source.size < _END:
        raise source.damaged("it is no ZIP")
    at = source.size - _END
    end = source.read(at, _END)
    if end[:4] != b"PK\x05\x06":
        raise source.refused("has bytes behind its ZIP directory, or a comment")
    if any(end[4:8]):
        raise source.refused("is one part of a ZIP of several")
    size, start = struct.unpack_from("<2L", end, 12)
    if source.size >= _END + _LOCATOR and source.read(at - _LOCATOR, 4) == b"PK\x06\x07":
        at -= _LOCATOR + _END64
        record = source.read(max(at, 0), _END64)
        if record[:4] != b"PK\x06\x06" or struct.unpack_from("<Q", record, 4)[0] != _END64 - 12:
            raise source.damaged("its ZIP64 directory is not where it says")
        size, start = struct.unpack_from("<2Q", record, 40)
    if size > _LARGEST_DIRECTORY:
        raise source.refused(f"has a ZIP directory of {size} bytes")
    if start + size != at:
        raise source.refused("has bytes before its ZIP begins, or behind its directory")
    return int(start)


def _check_kind(source: Source, info: zipfile.ZipInfo) -> None:
    """Refuse what is no plain file or folder, and what cannot be unpacked here."""
    shown = repr(info.filename)
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode == stat.S_IFLNK:
        raise source.refused(f"its entry {shown} is a link")
    if mode not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise source.refused(f"its entry {shown} is a device, a pipe or a socket")
    if info.flag_bits & 0x2041:
        raise source.refused(f"its entry {shown} is encrypted", "pack it without a password")
    if info.compress_type not in {STORED, DEFLATED}:
        raise source.refused(
            f"its entry {shown} is compressed by method {info.compress_type}",
            "pack it stored or deflated",
        )
    if info.compress_type == STORED and info.compress_size != info.file_size:
        raise source.damaged(f"its entry {shown} is stored, in another size than it says")
    if info.filename != info.orig_filename:
        raise source.refused(f"its entry {info.orig_filename!r} has two names")


def _local(source: Source, info: zipfile.ZipInfo) -> tuple[Entry, int]:
    """The entry as its local header has it, and where the next begins."""
    begin = info.header_offset
    fields = _LOCAL.unpack(source.read(begin, _LOCAL.size))
    mark, _, flags, method, _, _, crc, compressed, size, name_size, extra_size = fields
    if mark != b"PK\x03\x04":
        raise source.damaged(f"its entry {info.filename!r} has no header")
    name = source.read(begin + _LOCAL.size, name_size)
    extra = source.read(begin + _LOCAL.size + name_size, extra_size)
    encoding = "utf-8" if flags & 0x800 else "cp437"
    if name.decode(encoding, errors="replace") != info.orig_filename:
        raise source.refused(
            f"its entry {info.filename!r} has another name in its own header: "
            f"{name.decode(encoding, errors='replace')!r}"
        )
    streamed = bool(flags & 8)
    if _LARGE in {size, compressed}:
        size, compressed = _large(source, info, extra)
    if flags != info.flag_bits or method != info.compress_type:
        raise source.refused(f"its entry {info.filename!r} has two headers that differ")
    said = (info.CRC, info.compress_size, info.file_size)
    if (crc, compressed, size) != said and not (streamed and not crc | compressed | size):
        raise source.refused(f"its entry {info.filename!r} has two headers that differ")
    data = begin + _LOCAL.size + name_size + extra_size
    end = data + info.compress_size
    if end > source.size:
        raise source.damaged(f"its entry {info.filename!r} is cut short")
    entry = Entry(info.filename, method, info.compress_size, info.file_size, info.CRC, data)
    return entry, end + (_descriptor(source, info, end) if streamed else 0)


def _large(source: Source, info: zipfile.ZipInfo, extra: bytes) -> tuple[int, int]:
    """Sizes of a ZIP64 entry, from the extra field 1 of its local header."""
    at = 0
    while at + 4 <= len(extra):
        number, length = struct.unpack_from("<2H", extra, at)
        if number == 1 and length >= 16 and at + 20 <= len(extra):
            size, compressed = struct.unpack_from("<2Q", extra, at + 4)
            return int(size), int(compressed)
        at += 4 + length
    raise source.damaged(f"its entry {info.filename!r} has no size")


def _descriptor(source: Source, info: zipfile.ZipInfo, at: int) -> int:
    """Bytes of the data descriptor behind an entry that was written as a stream."""
    found = source.read(at, min(24, source.size - at))
    for layout in ("<4sL2L", "<4sL2Q", "<L2L", "<L2Q"):
        if len(found) >= struct.calcsize(layout):
            values = struct.unpack_from(layout, found)
            marked = layout[1] == "4"
            if marked and values[0] != b"PK\x07\x08":
                continue
            if values[-3:] == (info.CRC, info.compress_size, info.file_size):
                return struct.calcsize(layout)
    raise source.refused(f"its entry {info.filename!r} has two headers that differ")


def _pieces(source: Source, entry: Entry) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-15) if entry.method == DEFLATED else None
    for at in range(entry.begin, entry.begin + entry.compressed, _CHUNK):
        piece = source.read(at, min(_CHUNK, entry.begin + entry.compressed - at))
        if inflate is None:
            yield piece
            continue
        try:
            while piece:
                yield inflate.decompress(piece, _CHUNK)
                piece = inflate.unconsumed_tail
        except zlib.error as error:
            raise source.damaged(f"its entry {entry.name!r} cannot be unpacked") from error
    if inflate is not None:
        yield inflate.flush()
        if not inflate.eof or inflate.unused_data:
            raise source.damaged(f"its entry {entry.name!r} has bytes behind its compressed ones")
