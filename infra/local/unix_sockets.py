"""HTTP over unix sockets: the supervisor's and Envoy's own interfaces are nobody else's business.

A socket's file has an owner and a mode, which a loopback port has not.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import tempfile
from hashlib import sha256
from pathlib import Path

from registry.errors import PermanentEngineError

_PATH_BYTES = 90
"""A unix socket's path has 108 bytes with its zero; supervisord binds `PATH.PID` first."""


def socket_path(run: Path, name: str) -> Path:
    """Where the socket `name` of `run` lies: inside it, or in a short private folder.

    Raises PermanentEngineError when that folder is somebody else's.
    """
    inside = run / name
    if len(os.fsencode(inside)) <= _PATH_BYTES:
        return inside
    label = sha256(os.fsencode(run)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"sluice-{os.getuid()}-{label}"
    if len(os.fsencode(folder / name)) > _PATH_BYTES:
        folder = Path("/tmp") / folder.name  # noqa: S108 - private by owner and mode, checked below
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or folder.is_symlink():
        raise PermanentEngineError(
            "belongs to somebody else or is open to others",
            where=str(folder),
            remedy="remove that folder",
        )
    return folder / name


def remove_sockets(run: Path, known: Path) -> None:
    """Remove the socket `known` of `run`, and the short folder when it lies in one."""
    known.unlink(missing_ok=True)
    if known.parent != run:
        shutil.rmtree(known.parent, ignore_errors=True)


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection through a unix socket; `timeout_s` bounds each read and write."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Open the socket. Raises OSError when nobody listens."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except BaseException:
            self.sock.close()
            raise
