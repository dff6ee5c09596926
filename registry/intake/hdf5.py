"""What an HDF5 file holds: plain numbers of its own, reached by hard links, none of them elsewhere.

HDF5 can point to other files, load filters from shared libraries, and be far larger once read. All
of that is refused by the file's own structure, without the HDF5 library.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from registry.intake import hdf5_blocks as blocks
from registry.intake.hdf5_blocks import UNDEFINED, Blocks, Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.intake.source import Source

_MAX_RATIO = 20  # floats hardly compress
_SMALL = 64 * 1024**2
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}
_NUMBERS = frozenset({0, 1, 5, 8})
"""Integers, floats, opaque bytes (bfloat16 as Keras writes it) and enumerations (booleans)."""
_CLASSES = {
    2: "times",
    3: "texts",
    4: "bit fields",
    6: "compound values",
    7: "references",
    9: "values of variable length",
    10: "arrays",
}
_REMEDY = "save the model again with Keras 3"


def read_attributes(source: Source) -> Mapping[str, bytes]:
    """The texts among the root's attributes by name, once the whole file is found sound.

    Raises UserError: bytes behind its end, links, data or filters from elsewhere, anything but
    plain numbers, or far more once read than the file has.
    """
    walk = _Walk(Blocks(source))
    walk.everything()
    return walk.attributes


class _Walk:
    """One pass over every object, each once."""

    def __init__(self, file: Blocks) -> None:
        self.attributes: dict[str, bytes] = {}
        self._file = file
        self._source = file.source
        self._waiting = [("", file.root)]
        self._seen: set[int] = set()
        self._total = 0

    def everything(self) -> None:
        """Every object that hard links lead to from the root."""
        while self._waiting:
            name, address = self._waiting.pop()
            # A hard link may lead back up: each object is looked at once.
            if address in self._seen:
                continue
            self._seen.add(address)
            self._object(name, self._file.header(address))

    def _object(self, name: str, messages: list[Message]) -> None:
        kinds = {one.kind: one for one in messages}
        if any(one.is_shared for one in messages if one.kind != blocks.NIL):
            raise self._refused(f"{name or '/'!r} shares a part of its header")
        if blocks.EXTERNAL in kinds:
            raise self._refused(f"takes {name!r} from another file")
        for message in messages:
            self._message(name, message)
        if blocks.LAYOUT in kinds:
            self._dataset(name, kinds)
        elif blocks.DATATYPE in kinds:
            raise self._refused(f"holds a named type {name!r}")

    def _message(self, name: str, message: Message) -> None:
        """What one message leads to, or the root's attribute that it is."""
        if message.kind == blocks.LINK:
            self._link(name, message.content)
        elif message.kind == blocks.SYMBOLS:
            self._members(name, message.content)
        elif message.kind == blocks.LINK_INFO:
            self._check_inline(name, message.content, wide=8, what="members")
        elif message.kind == blocks.ATTRIBUTE_INFO:
            self._check_inline(name, message.content, wide=2, what="attributes")
        elif message.kind == blocks.ATTRIBUTE and not name:
            self._attribute(message.content)

    def _members(self, group: str, content: bytes) -> None:
        tree, heap = self._file.number(content, 0), self._file.number(content, 8)
        for name, address, cached in self._file.symbols(tree, heap):
            if cached == 2:
                raise self._refused(f"holds a link {group}/{name}")
            if cached not in {0, 1}:
                raise self._source.damaged(f"the member {group}/{name} of HDF5 is of no kind")
            self._waiting.append((f"{group}/{name}", address))

    def _link(self, group: str, content: bytes) -> None:
        number, flags, at = self._file.number, content[1] if len(content) > 1 else 0, 2
        kind = 0
        if flags & 8:
            kind, at = number(content, at, 1), at + 1
        at += (8 if flags & 4 else 0) + (1 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size, at = number(content, at, width), at + width
        name = content[at : at + size].decode(errors="replace")
        if kind:
            raise self._refused(f"holds a link {group}/{name}")
        self._waiting.append((f"{group}/{name}", number(content, at + size)))

    def _check_inline(self, name: str, content: bytes, *, wide: int, what: str) -> None:
        """Members or attributes that lie in a heap of their own are walked by nothing here."""
        at = 2 + (wide if len(content) > 1 and content[1] & 1 else 0)
        if self._file.number(content, at) != UNDEFINED:
            raise self._refused(f"keeps the {what} of {name or '/'!r} in a heap of the newer form")

    def _dataset(self, name: str, kinds: Mapping[int, Message]) -> None:
        if blocks.DATATYPE not in kinds or blocks.DATASPACE not in kinds:
            raise self._source.damaged(f"{name!r} has no type or no shape")
        kind, width = self._type(kinds[blocks.DATATYPE].content)
        if kind not in _NUMBERS:
            raise self._refused(f"{name!r} holds {_CLASSES.get(kind, kind)}, not plain numbers")
        size = width * math.prod(self._shape(name, kinds[blocks.DATASPACE].content))
        self._total += size
        if self._total > max(_SMALL, _MAX_RATIO * self._source.size):
            raise self._refused(f"would be {min(self._total, UNDEFINED)} bytes once read")
        if blocks.FILTERS in kinds:
            self._check_filters(name, kinds[blocks.FILTERS].content)
        self._check_layout(name, kinds[blocks.LAYOUT].content, size)

    def _type(self, content: bytes) -> tuple[int, int]:
        """Class of a datatype and bytes of one value."""
        return self._file.number(content, 0, 1) & 0x0F, self._file.number(content, 4, 4)

    def _shape(self, name: str, content: bytes) -> list[int]:
        version, rank = self._file.number(content, 0, 1), self._file.number(content, 1, 1)
        if version not in {1, 2} or rank > 32:
            raise self._source.damaged(f"{name!r} has no shape")
        at = 8 if version == 1 else 4
        return [self._file.number(content, at + 8 * one) for one in range(rank)]

    def _check_filters(self, name: str, content: bytes) -> None:
        number, count = self._file.number, self._file.number(content, 1, 1)
        version = number(content, 0, 1)
        at = 8 if version == 1 else 2
        for _ in range(count):
            used = number(content, at, 2)
            if used not in _FILTERS:
                raise self._refused(
                    f"needs the filter {used} for {name!r}, a library that HDF5 would load"
                )
            # Version 2 leaves out the name's length for filters of the library itself.
            named = number(content, at + 2, 2) if version == 1 else 0
            at += 8 if version == 1 else 6
            values = number(content, at - 2, 2)
            at += named + -named % 8 + 4 * values + (4 if version == 1 and values % 2 else 0)

    def _check_layout(self, name: str, content: bytes, size: int) -> None:
        number = self._file.number
        version, kind = number(content, 0, 1), number(content, 1, 1)
        if version not in {3, 4} or (version == 4 and kind == 2):
            raise self._refused(f"{name!r} lies in a form that no reader here walks")
        if kind == 3:
            raise self._refused(f"takes {name!r} from another file (virtual)")
        if kind == 0:
            held = number(content, 2, 2)
            if held < size or held > len(content) - 4:
                raise self._source.damaged(f"{name!r} has {held} bytes, not {size}")
        elif kind == 1:
            address, held = number(content, 2), number(content, 10)
            empty = address == UNDEFINED and not size
            if not empty and (held != size or address + held > self._source.size):
                raise self._source.damaged(f"{name!r} reaches beyond the file, or is not all there")
        elif kind == 2:
            self._check_chunks(name, content)
        else:
            raise self._source.damaged(f"{name!r} lies nowhere")

    def _check_chunks(self, name: str, content: bytes) -> None:
        """Every chunk must lie in the file; the tree's keys are size, mask and offsets."""
        rank = self._file.number(content, 2, 1)
        tree = self._file.number(content, 3)
        if tree == UNDEFINED:
            return
        for key, address in self._file.entries(tree, kind=1, key_size=8 + 8 * rank):
            if address + self._file.number(key, 0, 4) > self._source.size:
                raise self._source.damaged(f"a piece of {name!r} reaches beyond the file")

    def _attribute(self, content: bytes) -> None:
        """Keep an attribute of the root that is one text."""
        number = self._file.number
        version = number(content, 0, 1)
        sizes = [number(content, at, 2) for at in (2, 4, 6)]
        at = 9 if version == 3 else 8
        spans = []
        for size in sizes:
            spans.append((at, at + size))
            at += size + (-size % 8 if version == 1 else 0)
        name = content[slice(*spans[0])].rstrip(b"\0").decode(errors="replace")
        kind, width = self._type(content[slice(*spans[1])])
        if kind == 3:
            self.attributes[name] = content[at : at + width].rstrip(b"\0 ")
        elif kind == 9:
            length, heap, index = number(content, at, 4), number(content, at + 4), at + 12
            self.attributes[name] = self._file.global_text(heap, number(content, index, 4), length)
        elif name == "model_config":
            raise self._refused("its model_config is no text")

    def _refused(self, what: str) -> Exception:
        return self._source.refused(what, _REMEDY)
