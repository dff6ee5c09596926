"""Protocol buffers' wire format: fields of a number and a value, walked to the last byte.

A message is a sequence of fields: a tag (number and wire type) and a value
(protobuf.dev/programming-guides/encoding). A walk has a budget of fields, so that no file takes
longer than a bound; what a field means is the caller's to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MOST_FIELDS = 5_000_000
_LONGEST_TEXT = 1 << 20
_LONGEST_LIST = 1 << 10


class DamagedError(ValueError):
    """The bytes are not a message of the kind that was asked for."""


class Wire:
    """One walk over a file's messages."""

    def __init__(self, most_fields: int = _MOST_FIELDS) -> None:
        self._left = most_fields

    def fields(self, view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Field numbers and values: an integer, or the bytes of a text, message or packed list.

        Raises DamagedError when the bytes end within a field, or the walk's budget is spent.
        """
        at = 0
        while at < len(view):
            self._left -= 1
            if self._left < 0:
                raise DamagedError("it has more fields than any model")
            tag, at = varint(view, at)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                value, at = varint(view, at)
                yield number, value
                continue
            if kind == BYTES:
                size, at = varint(view, at)
            elif kind in {FIXED64, FIXED32}:
                size = 8 if kind == FIXED64 else 4
            else:
                raise DamagedError(f"it holds a field of wire type {kind}")
            if not number or at + size > len(view):
                raise DamagedError("a field reaches beyond its end")
            yield number, view[at : at + size]
            at += size


def varint(view: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise DamagedError("it ends within a number")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise DamagedError("a number takes more than ten bytes")


def message(value: int | memoryview) -> memoryview:
    """The bytes of a field that holds bytes."""
    if isinstance(value, int):
        raise DamagedError("a number stands where a message belongs")
    return value


def text(value: int | memoryview) -> str:
    """The text of a field that holds one."""
    content = message(value)
    if len(content) > _LONGEST_TEXT:
        raise DamagedError("a name is longer than any name")
    try:
        return bytes(content).decode()
    except UnicodeDecodeError as error:
        raise DamagedError("a name is not UTF-8") from error


def integer(value: int | memoryview) -> int:
    """The signed number of a field that holds one."""
    if not isinstance(value, int):
        raise DamagedError("bytes stand where a number belongs")
    return value - (1 << 64) if value >> 63 else value


def packed(view: memoryview) -> list[int]:
    """The signed numbers of a packed list of sizes."""
    if len(view) > _LONGEST_LIST:
        raise DamagedError("a tensor has more dimensions than any tensor")
    values, at = [], 0
    while at < len(view):
        value, at = varint(view, at)
        values.append(integer(value))
    return values
