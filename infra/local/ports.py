"""Free ports on loopback, given out without racing ourselves.

Asking the kernel for port 0 and closing it again has two races: another of our processes gets the
same one, and an outgoing connection takes it as its own end. So ports come from below the range of
outgoing connections, and each is reserved by a file for as long as an engine needs to bind it.
"""

from __future__ import annotations

import os
import random
import socket
import tempfile
import time
from pathlib import Path

from registry.errors import RetryableEngineError

LOOPBACK = "127.0.0.1"
_FIRST, _LAST = 18_000, 31_999
"""Linux connects from 32,768 on unless told otherwise; below 18,000 many servers have defaults."""
_RESERVED_S = 90.0
"""Longer than an engine takes from its start to binding its ports, models loaded first."""


def free_ports(count: int) -> tuple[int, ...]:
    """Return `count` ports on loopback that nobody has and nobody else will be given for now.

    Raises RetryableEngineError when too few are free.
    """
    folder = _reservations()
    candidates = random.sample(range(_FIRST, _LAST + 1), 2000)
    found: list[int] = []
    for port in candidates:
        if len(found) == count:
            break
        if _reserve(folder / str(port)) and is_free(port):
            found.append(port)
    if len(found) < count:
        raise RetryableEngineError(
            f"fewer than {count} free ports between {_FIRST} and {_LAST} on {LOOPBACK}",
            remedy="stop a program that listens there",
        )
    return tuple(found)


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could bind `port` on `host` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a server that ended may still be in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _reservations() -> Path:
    folder = Path(tempfile.gettempdir()) / f"sluice-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _reserve(reservation: Path) -> bool:
    """Make the reservation's file, or take over one that is out of date."""
    try:
        if time.time() - reservation.stat().st_mtime < _RESERVED_S:
            return False
        reservation.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    try:
        os.close(os.open(reservation, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True
