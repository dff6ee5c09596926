"""Who holds a lease, written so that another process of this machine can tell whether it lives."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.lease import Lease

_HOLDER = re.compile(r".* \(process (?P<pid>\d+)/(?P<start>\d+@\w+) on (?P<host>\S+)\)")
_START = 19
"""Place of a process's start, in ticks since boot, among the fields that /proc lists after its
name (proc_pid_stat(5): field 22)."""


def holder_name(actor: str) -> str:
    """`actor` and this process: its number, when it started, its host."""
    pid = os.getpid()
    return f"{actor} (process {pid}/{_start(pid)} on {socket.gethostname()})"


def is_dead(lease: Lease) -> bool:
    """Whether the lease's holder is a process of this machine that has ended.

    False when it lives, when it was another machine's, and when nobody can tell.
    """
    match = _HOLDER.fullmatch(lease.holder)
    if match is None or match["host"] != socket.gethostname():
        return False
    # Another start: the number was given to another process since.
    return _start(int(match["pid"])) != match["start"]


def _start(pid: int) -> str:
    """When a process started, empty when there is none.

    Counted from the boot, which is named too: dates would differ once somebody sets the clock.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # A zombie has ended; only its parent has not asked yet.
    if fields[0] in {"Z", "X"}:
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{fields[_START]}@{boot[:8]}"
