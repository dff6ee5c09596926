"""Tells a pickle by its opcodes, of every protocol; nothing is ever unpickled.

A pickle is a program for a small stack machine (PEP 307, PEP 574). Its opcodes are followed with
a stack of marks alone: one that imports and calls is a pickle even when it is broken afterwards,
since what comes before the break has run by then.
"""

from __future__ import annotations

import io
import pickletools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pickletools import OpcodeInfo

_IMPORTS = frozenset({"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"})
_CALLS = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
_PROTOCOL = b"\x80"
_NEWEST = b"\x05"
_LONG_ARGUMENTS = (b"B", b"T", b"X", b"\x8b", b"\x8d", b"\x8e", b"\x95", b"\x96")
"""Opcodes whose argument may be longer than what is looked at."""
_FEWEST = 3
_MOST = 20_000


def is_pickle(head: bytes, *, is_whole: bool = False) -> bool:
    """Whether bytes begin as a pickle; `is_whole` when they are all of their file.

    Plain text is one only when it imports and calls, or is a pickle to its very end.
    """
    depth, operations, imported = list[bool](), 0, False
    try:
        for operation, argument, _ in pickletools.genops(io.BytesIO(head)):
            operations += 1
            if not _follow(operation, depth):
                return False
            imported = imported or _imports(operation, argument)
            if imported and operation.name in _CALLS:
                return True
            if operations > _MOST:
                return True
        # Only STOP ends the loop.
        return _has_protocol(head) or imported or (is_whole and _ends(head, operations))
    except Exception:  # noqa: BLE001 - bytes of any kind; what was seen before the fault counts
        return _has_protocol(head) and (operations >= _FEWEST or head[2:3] in _LONG_ARGUMENTS)


def _has_protocol(head: bytes) -> bool:
    """Whether it begins as pickles since protocol 2 do; one in 40,000 files of numbers does."""
    return head.startswith(_PROTOCOL) and head[1:2] <= _NEWEST


def _ends(head: bytes, operations: int) -> bool:
    return operations >= _FEWEST and head.rstrip().endswith(b".")


def _imports(operation: OpcodeInfo, argument: object) -> bool:
    if operation.name not in _IMPORTS:
        return False
    if operation.name not in {"GLOBAL", "INST"}:
        return True
    words = str(argument).split(" ")
    return len(words) == 2 and all(
        part.isidentifier() for word in words for part in word.split(".")
    )


def _follow(operation: OpcodeInfo, stack: list[bool]) -> bool:
    """Apply an opcode to a stack of "is a mark"; False when the stack is too short for it."""
    before = operation.stack_before
    if pickletools.markobject in before:
        if True not in stack:
            return False
        while stack and not stack.pop():
            pass
        below = before.index(pickletools.markobject)
        if len(stack) < below:
            return False
        del stack[len(stack) - below :]
    else:
        if len(stack) < len(before):
            return False
        del stack[len(stack) - len(before) :]
    stack += [one is pickletools.markobject for one in operation.stack_after]
    return True
