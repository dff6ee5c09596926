"""A Triton for one caller: a gate's, or a check's. It never outlives the block that asked for it.

What is scored is what serves: the same command line and environment as a revision of the fleet,
on ports of its own, over a repository of the caller's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil

from infra.local import guardian, triton, triton_api
from infra.local.log_words import last_words
from infra.local.revisions import new_endpoints
from infra.local.shared_memory import region_prefix, remove_regions
from registry.errors import PermanentEngineError, RetryableEngineError
from registry.priority import give_way

if TYPE_CHECKING:
    from types import TracebackType

    from infra.local.triton_api import CacheStatistics

LOAD_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 15.0
_POLL_S = 0.02


class PrivateRevision:
    """Release `release` of `model` served from `repository`, for the length of a `with` block.

    Entering waits until the model is ready, and raises PermanentEngineError with the server's
    reason when it does not load, RetryableEngineError when that takes longer than `timeout_s`.
    The server is gone when the block ends, whichever way, and when this process is killed.
    `log` takes what the server prints, `predictions` a prediction log of its own; without it
    nothing is recorded. The log loses what the server has not written when the block ends.
    """

    def __init__(
        self,
        repository: Path,
        model: str,
        release: int = 1,
        *,
        log: Path,
        predictions: Path | None = None,
        timeout_s: float = LOAD_TIMEOUT_S,
    ) -> None:
        self._repository, self._model, self._release = repository, model, release
        self._log, self._timeout_s = log, timeout_s
        self._predictions = predictions
        self._endpoints = new_endpoints()
        self._prefix = region_prefix(repository, model, release)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def grpc_address(self) -> str:
        """`host:port` of the server's gRPC API."""
        return self._endpoints.grpc_address

    @property
    def http_url(self) -> str:
        """Base URL of the server's HTTP API."""
        return self._endpoints.http_url

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that answer now, by the server's own word; empty where it says none."""
        return triton_api.devices(self._endpoints)

    def cache(self, model: str) -> CacheStatistics:
        """What the response cache did for `model`, one of the release's Triton models."""
        return triton_api.cache_statistics(self._endpoints, model)

    @property
    def peak_memory_bytes(self) -> int:
        """The largest resident memory of each of the server's processes until now, added up.

        Pages that they share are counted in each, so it is at least what they needed.
        """
        if self._process is None:
            return 0
        peaks = []
        for child in psutil.Process(self._process.pid).children(recursive=True):
            # It may end while it is looked at.
            with suppress(OSError):
                peaks.append(_peak_bytes(Path(f"/proc/{child.pid}/status").read_text()))
        return sum(peaks)

    def __enter__(self) -> Self:
        """Start the server and wait until the model is ready."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.unlink(missing_ok=True)
        try:
            self._process = self._start()
            self._wait_ready(self._process)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the server."""
        self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        description = {
            "command": triton.command_line(
                self._repository, self._model, self._release, self._endpoints, self._prefix
            ),
            "environment": triton.environment(self._predictions),
            "folder": str(self._repository),
            "secret": self._endpoints.secret,
            "log": str(self._log),
            # What a killed engine leaves in shared memory, for an owner that was killed too.
            "regions": f"{self._prefix}*",
            # Nobody else has a request in flight here.
            "grace_s": 0,
        }
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(guardian.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # An interrupt at the terminal is the owner's to handle.
            start_new_session=True,
        )
        # Known before anything can interrupt what follows, so that `_end` finds it.
        self._process = process
        give_way(process.pid)
        if process.stdin is not None:
            process.stdin.write(json.dumps(description).encode() + b"\n")
            process.stdin.flush()
        return process

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self._timeout_s
        models = triton.triton_models(self._repository, self._model, self._release)
        while not triton_api.is_ready(self._endpoints, models, self._release):
            reason = triton_api.load_failure(self._endpoints, models)
            if reason == triton_api.NOT_LOADED:
                reason = last_words(self._log) or reason
            if not reason and process.poll() is not None:
                reason = last_words(self._log) or f"the server ended ({process.returncode})"
            if reason:
                raise PermanentEngineError(
                    f"{self._model} does not load: {reason}", where=str(self._log)
                )
            if time.monotonic() > deadline:
                raise RetryableEngineError(
                    f"{self._model} was not ready after {self._timeout_s:.0f} s",
                    where=str(self._log),
                )
            time.sleep(_POLL_S)

    def _end(self) -> None:
        """Close the pipe, which ends the guardian and its engine, and wait for both."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            # It may have ended before it read its description.
            with suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(timeout=_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        remove_regions(self._prefix)


def _peak_bytes(status: str) -> int:
    """`VmHWM`, the peak resident set, of what /proc says of a process; 0 when it has ended."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(fields["VmHWM"].split()[0]) * 1024 if "VmHWM" in fields else 0
