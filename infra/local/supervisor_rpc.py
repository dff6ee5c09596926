"""Speaks XML-RPC to supervisord over its unix socket, with a time-out on every call."""

from __future__ import annotations

import http.client
import xmlrpc.client
from typing import TYPE_CHECKING, Any
from xml.parsers.expat import ExpatError

from infra.local.unix_sockets import UnixConnection
from registry.errors import RetryableEngineError

if TYPE_CHECKING:
    from pathlib import Path

CALL_TIMEOUT_S = 5.0


class SupervisorAbsentError(RetryableEngineError):
    """Nothing listens: the daemon was never started, ended, or was killed."""


def call(path: Path, method: str, *arguments: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
    """Call `supervisor.METHOD` and return its value.

    Raises xmlrpc.client.Fault when supervisord refuses, SupervisorAbsentError when there is none,
    RetryableEngineError when it does not answer in time.
    """
    try:
        with xmlrpc.client.ServerProxy(
            "http://127.0.0.1", transport=_UnixTransport(path, timeout_s)
        ) as server:
            return getattr(server.supervisor, method)(*arguments)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise SupervisorAbsentError(
            "no supervisor is running", where=str(path), remedy="run `sluice up`"
        ) from error
    except (OSError, http.client.HTTPException, ExpatError, xmlrpc.client.ProtocolError) as error:
        raise RetryableEngineError(
            f"the supervisor does not answer: {error}",
            where=str(path),
            remedy="try again, or run `sluice down`",
        ) from error


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._path, self._timeout_s = path, timeout_s

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = UnixConnection(self._path, self._timeout_s)
        self._connection = (host, connection)  # What `close` closes.
        return connection
