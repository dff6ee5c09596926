"""Who holds a lease, written so that another process of this machine can tell whether it lives."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.lease import Lease

_HOLDER = re.compile(r".* \(process (?P<pid>\d+)/(?P<started>\d+) on (?P<host>\S+)\)")


def holder_name(actor: str) -> str:
    """`actor` and this process: its number, when it started (ms since the epoch), its host."""
    import psutil

    process = psutil.Process()
    started = round(process.create_time() * 1000)
    return f"{actor} (process {process.pid}/{started} on {socket.gethostname()})"


def is_dead(lease: Lease) -> bool:
    """Whether the lease's holder is a process of this machine that has ended.

    False when it lives, when it was another machine's, and when nobody can tell.
    """
    import psutil

    match = _HOLDER.fullmatch(lease.holder)
    if match is None or match["host"] != socket.gethostname():
        return False
    try:
        started = round(psutil.Process(int(match["pid"])).create_time() * 1000)
    except psutil.NoSuchProcess:
        return True
    # The number was given to another process since.
    return bool(abs(started - int(match["started"])) > 1000)
