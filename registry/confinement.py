"""Starts a program that can reach no network and write to named folders only, where Linux lets it.

Three walls, each put up where the kernel has it and told of where it has not: a network namespace
of its own, without so much as loopback (user_namespaces(7)); Landlock, which refuses every change
of a file outside the named folders, and signals and abstract sockets of other processes
(landlock(7)). What is started inherits them and can never take them down.

As a program (`python -IS confinement.py --writable FOLDER -- COMMAND`) it puts them up around
itself and becomes COMMAND, with what stands in the variable `SLUICE_CONFINED`. So it imports the
standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VARIABLE = "SLUICE_CONFINED"
NETWORK, FILES, SIGNALS = "network", "files", "signals"
WALLS = (NETWORK, FILES, SIGNALS)
"""In the order in which they are told of."""

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_NO_NEW_PRIVILEGES = 38
# System calls have these numbers on every architecture (include/uapi/asm-generic/unistd.h).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
# include/uapi/linux/landlock.h; reading and executing are left alone.
_WRITE_FILE = 1 << 1
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
"""Removing and making of anything."""
_REFER, _TRUNCATE, _DEVICES = 1 << 13, 1 << 14, 1 << 15
_TCP = 0b11
_SCOPES = 0b11
_ALWAYS_WRITABLE = ("/dev/null",)


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def confined(command: Sequence[str], writable: Sequence[Path]) -> list[str]:
    """The command that starts `command` confined; it may change what is below `writable` alone."""
    folders = [part for folder in writable for part in ("--writable", str(folder.resolve()))]
    return [sys.executable, "-IS", os.path.abspath(__file__), *folders, "--", *command]  # noqa: PTH100 - stands alone


def missing(told: str) -> tuple[str, ...]:
    """The walls that `told`, the variable's value, does not name."""
    return tuple(wall for wall in WALLS if wall not in told.split())


def main(arguments: Sequence[str]) -> None:
    """Put up the walls and become the command; ends with 127 when there is no such program."""
    end = arguments.index("--")
    folders, command = arguments[1:end:2], list(arguments[end + 1 :])
    standing = [NETWORK] if _leave_network() else []
    standing += _restrict(folders)
    os.environ[VARIABLE] = " ".join(standing)
    try:
        os.execvp(command[0], command)  # noqa: S606 - what the caller built
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        os._exit(127)


def _leave_network() -> bool:
    """Enter a user and a network namespace, as the same user and group."""
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_USER | _NEW_NET) != 0:
        return False
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        # Without a map the process is nobody, and owns nothing: it fails at its first file.
        with suppress(OSError), open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - as above
            file.write(content)
    return True


def _restrict(folders: Sequence[str]) -> list[str]:
    """Put up Landlock's walls, as many as this kernel has; their names."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    version = call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    if version < 1:
        return []
    allowed = _CHANGES
    for bit, since in ((_REFER, 2), (_TRUNCATE, 3), (_DEVICES, 5)):
        allowed |= bit if version >= since else 0
    rules = _Ruleset(allowed, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = ctypes.sizeof(rules) if version >= 6 else 16 if version >= 4 else 8
    ruleset = call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        return []
    for path in (*folders, *_ALWAYS_WRITABLE):
        _allow(call, ruleset, path, allowed)
    if ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return []
    if call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) != 0:
        return []
    os.close(ruleset)
    return [FILES, SIGNALS] if rules.scoped else [FILES]


def _allow(call: ctypes._NamedFuncPointer, ruleset: int, path: str, allowed: int) -> None:
    """Let what is below `path` be changed; a path that is not there is passed over."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        kept = allowed if os.path.isdir(path) else allowed & (_WRITE_FILE | _TRUNCATE | _DEVICES)  # noqa: PTH112 - as above
        rule = _Beneath(kept, descriptor)
        rule_of = (ctypes.c_int(ruleset), _PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0))
        call(_ADD_RULE, *rule_of)
        os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1:])
