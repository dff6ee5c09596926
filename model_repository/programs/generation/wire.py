"""What a release's two programs say to each other: messages of JSON over a local socket.

Triton's own way, requests that a program makes, cannot carry this: in 2.51 concurrent ones to a
decoupled model corrupt the memory of the program that makes them, and none can be cancelled.

    caller to reception   {"call": NAME, "text": TEXT, "parameters": {...}} or {"cancel": NAME}
    reception to caller   {"call": NAME, "outputs": {...}} or {"call": NAME, "code", "reason"}
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_CREDENTIALS = struct.Struct("3i")  # process, user and group, as unix(7) has them
SUFFIX = ".stream"
"""Ends the name of the Triton model that holds the engine."""


def address(model: str, release: str) -> str:
    """Where the engine of a release listens, for programs of the same server only.

    An abstract name: the kernel forgets it with the process, so nothing is left behind.
    """
    return f"\0sluice-{os.getppid()}-{model}-{release}"


def is_own(connection: Connection) -> bool:
    """Whether the other end is a process of the same user; others may bind and connect, too."""
    with socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as end:
        size = struct.calcsize("3i")
        _, user, _ = struct.unpack(
            "3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )
    return bool(user == os.getuid())


def pack(message: dict[str, Any]) -> bytes:
    """A message as it is sent."""
    return json.dumps(message).encode()


def unpack(data: bytes) -> dict[str, Any]:
    """A message as it was meant."""
    return dict(json.loads(data))


def to_text(data: bytes) -> str:
    """Any bytes as a text that JSON can hold."""
    return data.decode(errors="surrogateescape")


def to_bytes(text: str) -> bytes:
    """The bytes of which `to_text` made a text."""
    return text.encode(errors="surrogateescape")
