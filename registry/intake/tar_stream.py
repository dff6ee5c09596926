"""Reads a tar as a stream, header by header, with bounds that `tarfile` does not have.

`tarfile` takes a broken header for the end, and reads extended headers of any size into memory.
Here each header's check sum must fit, an extended header has a bound, and what follows the last
file is zeros (POSIX.1-2001, "pax Interchange Format"; GNU tar's long names).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512
_CHUNK = 1 << 20
_LONGEST_HEADER = 1 << 20
_MOST_EXTENDED = 1 << 26
_MOST_ZEROS = 1 << 24
_FILES, _FOLDER = frozenset({b"0", b"\0", b"7"}), b"5"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", b"x", b"g"
_KINDS = {
    b"1": "is a hard link",
    b"2": "is a symbolic link",
    b"3": "is a device",
    b"4": "is a device",
    b"6": "is a pipe",
    b"S": "is a sparse file",
}


class TarError(ValueError):
    """The stream is no tar, or has bytes that no entry holds."""


class EntryError(TarError):
    """One entry of a tar is something that no model needs."""


@dataclass(frozen=True)
class Member:
    """One file or folder; its bytes are read from `pieces`, to their end, before the next."""

    name: str
    size: int
    is_folder: bool
    pieces: Iterator[bytes]


def members(read: Callable[[int], bytes]) -> Iterator[Member]:
    """Files and folders of the tar that `read` gives piece by piece, in order.

    `read` returns as many bytes as asked, fewer only at the end. Raises TarError.
    """
    extended = _Extended(read)
    while True:
        header = _exactly(read, BLOCK)
        if not any(header):
            _check_end(read)
            return
        _check_sum(header)
        kind, size = header[156:157], _number(header[124:136])
        if extended.takes(kind, size):
            continue
        name, size = extended.of_next(_name(header), size)
        if kind not in _FILES and kind != _FOLDER:
            raise EntryError(f"its entry {name!r} {_KINDS.get(kind, f'is of the kind {kind!r}')}")
        is_folder = kind == _FOLDER or name.endswith("/")
        if is_folder and size:
            raise EntryError(f"its folder {name!r} has bytes of its own")
        yield Member(name, size, is_folder, _content(read, size))


class _Extended:
    """Headers that stand before the one that they are about: longer names and sizes."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._values: dict[str, str] = {}
        self._bytes = 0

    def takes(self, kind: bytes, size: int) -> bool:
        """Read an extended header; False for a header of another kind."""
        if kind not in {_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL}:
            return False
        if size > _LONGEST_HEADER:
            raise TarError(f"it has a header of {size} bytes")
        self._bytes += BLOCK + size
        if self._bytes > _MOST_EXTENDED:
            raise TarError("it has more headers than files need")
        content = b"".join(_content(self._read, size))
        if kind == _LONG_NAME:
            self._values["path"] = _text(content.rstrip(b"\0"))
        elif kind == _PAX:
            self._values |= _records(content)
        return True

    def of_next(self, name: str, size: int) -> tuple[str, int]:
        """Name and size of the entry that follows; what was said is for it alone."""
        values, self._values = self._values, {}
        name = values.get("path") or name
        if any(key.startswith("GNU.sparse") for key in values):
            raise EntryError(f"its entry {name!r} is a sparse file")
        return name, _decimal(values["size"]) if "size" in values else size


def _content(read: Callable[[int], bytes], size: int) -> Iterator[bytes]:
    left = size
    while left:
        piece = _exactly(read, min(_CHUNK, left))
        left -= len(piece)
        yield piece
    if any(_exactly(read, -size % BLOCK)):
        raise TarError("it has bytes that no entry holds")


def _check_end(read: Callable[[int], bytes]) -> None:
    """Zeros, and nothing else, follow the first block of zeros."""
    zeros = 0
    while piece := read(_CHUNK):
        zeros += len(piece)
        if any(piece) or zeros > _MOST_ZEROS:
            raise TarError("it has bytes that no entry holds, behind its end")


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    content = read(size) if size else b""
    if len(content) != size:
        raise TarError("it is cut short")
    return content


def _check_sum(header: bytes) -> None:
    said = _number(header[148:156])
    if said != sum(header) - sum(header[148:156]) + 8 * 32:
        raise TarError("it has a header whose check sum is wrong")


def _number(content: bytes) -> int:
    """Octal digits, or GNU's base 256 where the first bit is set."""
    if content[0] & 0x80:
        value = int.from_bytes(content, "big") & ((1 << (8 * len(content) - 1)) - 1)
        if content[0] & 0x40 or value >= 1 << 62:
            raise TarError("it has a header with a size that no file has")
        return value
    digits = content.strip(b" \0")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise TarError("it has a header with a number that is none")
    return int(digits or b"0", 8)


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0")[0]
    prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _records(content: bytes) -> dict[str, str]:
    """Keys and values of a pax header: a length, a space, `key=value` and a line feed, each."""
    found, at = {}, 0
    while at < len(content):
        size, _, _ = content[at : at + 24].partition(b" ")
        if not re.fullmatch(rb"[0-9]{1,7}", size):
            raise TarError("it has an extended header that is none")
        length = int(size)
        record = content[at + len(size) + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if length < 5 or not equals or not value.endswith(b"\n") or at + length > len(content):
            raise TarError("it has an extended header that is none")
        name = _text(key)
        if name in {"path", "size"} or name.startswith("GNU.sparse"):
            found[name] = _text(value[:-1])
        at += length
    return found


def _decimal(digits: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", digits):
        raise TarError("it has a header with a size that no file has")
    return int(digits)


def _text(content: bytes) -> str:
    if b"\0" in content:
        raise TarError("it has a name with a zero byte")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise TarError("it has a name that is not UTF-8") from error
