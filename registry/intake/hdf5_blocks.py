"""The blocks that an HDF5 file is built of: superblock, object headers, groups' names, heaps.

Layouts are those of the HDF5 File Format Specification, version 3.0. Every address is checked
against the file, every walk has a budget; what a message means is `hdf5`'s to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry.intake.source import Source

UNDEFINED = (1 << 64) - 1
NIL, DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL, LAYOUT = 0, 1, 2, 3, 6, 7, 8
FILTERS, ATTRIBUTE, SHARED_TABLE, CONTINUATION, SYMBOLS = 11, 12, 15, 16, 17
ATTRIBUTE_INFO = 21
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_BLOCKS = 2_000_000
_MOST_READ = 1 << 24
_READINGS = 4
_LONGEST_NAME = 4096
_LONGEST_HEADER = 1 << 24


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an object's header."""

    kind: int
    content: bytes
    is_shared: bool


class Blocks:
    """Reads the blocks of one file. Every method raises UserError when they are damaged."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._left = _MOST_BLOCKS
        # What groups share is read for each of them: many of a large one would take hours.
        self._bytes_left = _MOST_READ + _READINGS * source.size
        self.root = self._superblock()

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes at `address`."""
        self._left -= 1
        self._bytes_left -= length
        if self._left < 0 or self._bytes_left < 0:
            raise self.source.refused("has more parts than any HDF5 file of a model")
        return self.source.read(address, length)

    def number(self, content: bytes, at: int, width: int = 8) -> int:
        """The unsigned number of `width` bytes at `at` of a block."""
        if at + width > len(content):
            raise self.source.damaged("a block of HDF5 ends within a number")
        return int.from_bytes(content[at : at + width], "little")

    def header(self, address: int) -> list[Message]:
        """The messages of the object header at `address`."""
        start = self.read(address, 16)
        if start[:4] == b"OHDR":
            return list(self._header_2(address))
        if start[0] != 1:
            raise self.source.damaged("an object of HDF5 has no header")
        return list(self._header_1(address, start))

    def symbols(self, tree: int, heap: int) -> Iterator[tuple[str, int, int]]:
        """Names, header addresses and cache types of an old group's members."""
        names = self._heap(heap)
        for node in self.leaves(tree, kind=0, key_size=8):
            block = self.read(node, 8)
            if block[:5] != b"SNOD\x01":
                raise self.source.damaged("a group of HDF5 has no list of members")
            count = self.number(block, 6, 2)
            entries = self.read(node + 8, 40 * count)
            for at in range(0, 40 * count, 40):
                begin = self.number(entries, at)
                end = names.find(b"\0", begin, begin + _LONGEST_NAME)
                if begin >= len(names) or end < 0:
                    raise self.source.damaged("a member of an HDF5 group has no name")
                name = names[begin:end].decode(errors="replace")
                yield name, self.number(entries, at + 8), self.number(entries, at + 16, 4)

    def leaves(self, tree: int, *, kind: int, key_size: int) -> Iterator[int]:
        """Addresses that the leaves of a version 1 B-tree of `kind` lead to."""
        for _, child in self.entries(tree, kind=kind, key_size=key_size):
            yield child

    def entries(self, tree: int, *, kind: int, key_size: int) -> Iterator[tuple[bytes, int]]:
        """Keys and addresses in the leaves of a version 1 B-tree of `kind`."""
        waiting, seen = [(tree, 256)], set[int]()
        while waiting:
            address, above = waiting.pop()
            block = self.read(address, 24)
            level = block[5]
            # A level below its parent's: a tree that leads back to itself ends here.
            if block[:4] != b"TREE" or block[4] != kind or level >= above or address in seen:
                raise self.source.damaged("a tree of HDF5 is none")
            seen.add(address)
            count, step = self.number(block, 6, 2), key_size + 8
            content = self.read(address + 24, step * count + key_size)
            for at in range(0, step * count, step):
                child = self.number(content, at + key_size)
                if level:
                    waiting.append((child, level))
                else:
                    yield content[at : at + key_size], child

    def global_text(self, collection: int, index: int, length: int) -> bytes:
        """A text of variable length, from the global heap."""
        start = self.read(collection, 16)
        size = self.number(start, 8)
        if start[:5] != b"GCOL\x01" or size > _LONGEST_HEADER * 4:
            raise self.source.damaged("a text of HDF5 lies in no heap")
        content, at = self.read(collection, size), 16
        while at + 16 <= size:
            found, held = self.number(content, at, 2), self.number(content, at + 8)
            if found == index and length <= held <= size - at - 16:
                return content[at + 16 : at + 16 + length]
            if not found:
                break
            at += 16 + held + -held % 8
        raise self.source.damaged("a text of HDF5 is not in its heap")

    def _superblock(self) -> int:
        """The root's address, once the file's own size is the one it says."""
        source = self.source
        if not source.head(8).startswith(_SIGNATURE):
            raise source.damaged("it is not an HDF5 file")
        version = source.read(8, 1)[0]
        if version not in {0, 1, 2, 3}:
            raise source.damaged(f"its HDF5 header is of version {version}")
        head = source.head(128)
        widths = head[13:15] if version < 2 else head[9:11]
        if widths != b"\x08\x08":
            raise source.damaged("its HDF5 addresses are not of 8 bytes")
        at = {0: 24, 1: 28, 2: 12, 3: 12}[version]
        base, end = self.number(head, at), self.number(head, at + 16)
        if base:
            raise source.refused("has bytes before its HDF5 begins")
        if end != source.size:
            what = f"it should have {end} bytes and has {source.size}"
            if end < source.size:
                raise source.refused(f"has {source.size - end} bytes behind its HDF5's end")
            raise source.damaged(what)
        if version < 2:
            if self.number(head, at + 24) != UNDEFINED:
                raise source.refused("is spread over several files by a driver of HDF5")
            return self.number(head, at + 40)
        if self.number(head, at + 8) != UNDEFINED:
            self._extension(self.number(head, at + 8))
        return self.number(head, at + 24)

    def _extension(self, address: int) -> None:
        if any(one.kind in {20, SHARED_TABLE} for one in self.header(address)):
            raise self.source.refused("is spread over several files by a driver of HDF5")

    def _header_1(self, address: int, start: bytes) -> Iterator[Message]:
        count, size = self.number(start, 2, 2), self.number(start, 8, 4)
        waiting, seen = [(address + 16, size)], {address}
        while waiting:
            begin, length = waiting.pop(0)
            if length > _LONGEST_HEADER:
                raise self.source.damaged("a header of HDF5 is larger than any")
            block, at = self.read(begin, length), 0
            while at + 8 <= length and count > 0:
                count -= 1
                kind, held = self.number(block, at, 2), self.number(block, at + 2, 2)
                content = block[at + 8 : at + 8 + held]
                if len(content) < held:
                    raise self.source.damaged("a message of HDF5 ends behind its block")
                if kind == CONTINUATION:
                    self._continue(content, waiting, seen)
                yield Message(kind, content, bool(block[at + 4] & 2))
                at += 8 + held

    def _continue(self, content: bytes, waiting: list[tuple[int, int]], seen: set[int]) -> None:
        begin, length = self.number(content, 0), self.number(content, 8)
        if begin in seen:
            raise self.source.damaged("a header of HDF5 leads back to itself")
        seen.add(begin)
        waiting.append((begin, length))

    def _header_2(self, address: int) -> Iterator[Message]:
        start = self.read(address, 6)
        if start[4] != 2:
            raise self.source.damaged("an object of HDF5 has no header")
        flags = start[5]
        at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        length = self.number(self.read(address + at, width), 0, width)
        waiting, seen = [(address + at + width, length)], {address}
        step = 6 if flags & 4 else 4
        while waiting:
            begin, length = waiting.pop(0)
            if length > _LONGEST_HEADER:
                raise self.source.damaged("a header of HDF5 is larger than any")
            block, at = self.read(begin, length), 0
            while at + step <= length:
                kind, held = block[at], self.number(block, at + 1, 2)
                content = block[at + step : at + step + held]
                if len(content) < held:
                    raise self.source.damaged("a message of HDF5 ends behind its block")
                if kind == CONTINUATION:
                    self._next_block(content, waiting, seen)
                yield Message(kind, content, bool(block[at + 3] & 2))
                at += step + held

    def _next_block(self, content: bytes, waiting: list[tuple[int, int]], seen: set[int]) -> None:
        """As `_continue`, for blocks that begin with a mark and end with a check sum."""
        self._continue(content, waiting, seen)
        begin, length = waiting.pop()
        if length < 8 or self.read(begin, 4) != b"OCHK":
            raise self.source.damaged("a header of HDF5 goes on nowhere")
        waiting.append((begin + 4, length - 8))

    def _heap(self, address: int) -> bytes:
        start = self.read(address, 32)
        size = self.number(start, 8)
        if start[:5] != b"HEAP\0" or size > _LONGEST_HEADER:
            raise self.source.damaged("the names of an HDF5 group are nowhere")
        return self.read(self.number(start, 24), size)
