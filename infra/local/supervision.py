"""Keeps engines running: one supervisord for a workspace, added to and taken from while it runs.

The daemon survives the command that started it. When it was killed itself, `ensure` ends what it
left behind before a new one starts the same programs again. Nothing runs after `shutdown`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import xmlrpc.client
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.local.orphans import end_orphans, find_orphans
from infra.local.programs import (
    Program,
    configuration,
    daemon_environment,
    describe,
    stop_wait_s,
)
from infra.local.supervisor_rpc import CALL_TIMEOUT_S, SupervisorAbsentError, call
from infra.local.unix_sockets import remove_sockets, socket_path
from registry.errors import PermanentEngineError, RetryableEngineError
from registry.files import locked, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK_TIMEOUT_S = 60.0
START_TIMEOUT_S = 15.0
_MARGIN_S = 5.0
_POLL_S = 0.02
_NO_WAIT = False
"""The calls' own `wait` argument: the daemon would answer only once the program has settled."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")


__all__ = ["Phase", "ProcessState", "Program", "Supervisor"]


class Phase(StrEnum):
    """supervisord's own process states."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What the supervisor knows of one program. `pid` is 0 when none runs."""

    phase: Phase
    pid: int
    restarts: int
    detail: str

    @property
    def up(self) -> bool:
        """Whether its process runs now."""
        return self.pid != 0 and self.phase in {Phase.STARTING, Phase.RUNNING}

    @property
    def down_for_good(self) -> bool:
        """Whether the supervisor will not start it again by itself."""
        return self.phase in {Phase.FATAL, Phase.EXITED, Phase.STOPPED, Phase.UNKNOWN}


class Supervisor:
    """The supervisor of one workspace: its state in `run`, a log for each program in `logs`.

    Methods raise RetryableEngineError when the daemon does not answer in time, and
    PermanentEngineError when it refuses.
    """

    def __init__(self, run: Path, logs: Path) -> None:
        self.run = run.resolve()
        self.logs = logs.resolve()

    def ensure(self) -> None:
        """Have a daemon. A dead one's orphans are ended first, and its programs started again."""
        with self._locked():
            if self.alive():
                return
            end_orphans(self.run)
            self._programs.mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(parents=True, exist_ok=True)
            self._socket.unlink(missing_ok=True)
            self._write_configuration()
            self._launch_daemon()

    def sweep(self) -> None:
        """End what a dead daemon left behind; with a living one, do nothing."""
        if not self.run.exists():
            return
        with self._locked():
            if not self.alive():
                end_orphans(self.run)

    def alive(self) -> bool:
        """Whether the daemon answers. Raises RetryableEngineError when it hangs."""
        try:
            return bool(self._call("getState")["statecode"] == 1)
        except SupervisorAbsentError:
            return False

    def start(self, program: Program) -> None:
        """Run `program`; returns once it was started. The same one already running is left alone.

        A program of the same name with another description is replaced.
        """
        if not _NAME.fullmatch(program.name):
            raise ValueError(f"not a program name: {program.name!r}")
        with self._locked():
            content = describe(program, self.run)
            known = self.states().get(program.name)
            if known is not None and self._description(program.name).read_bytes() != content:
                self._remove(program.name)
                known = None
            if known is None:
                self._starts(program.name).unlink(missing_ok=True)
                write_atomic(self._description(program.name), content, mode=0o600)
                self._reload()
                self._call_allowing("ALREADY_ADDED", "addProcessGroup", program.name)
            if known is None or not known.up:
                self._call_allowing("ALREADY_STARTED", "startProcess", program.name, _NO_WAIT)

    def stop(self, name: str) -> None:
        """Stop `name` and wait until it is gone. Unknown or stopped already: does nothing."""
        states = self.states()
        if name not in states:
            return
        self._call_allowing("NOT_RUNNING", "stopProcess", name, _NO_WAIT)
        self._wait_stopped([name], stop_wait_s(self._description(name)) + _MARGIN_S)

    def remove(self, name: str) -> None:
        """Stop `name` and forget it."""
        with self._locked():
            self._remove(name)

    def states(self) -> dict[str, ProcessState]:
        """State of every program by name; empty without a daemon."""
        try:
            rows = self._call("getAllProcessInfo")
        except SupervisorAbsentError:
            return {}
        return {row["name"]: self._state(row) for row in rows}

    def log(self, name: str) -> Path:
        """The log of a program: standard output and error together."""
        return self.logs / f"{name}.log"

    def shutdown(self) -> None:
        """Stop all programs and the daemon, by force where asking does not help. Forgets them."""
        with self._locked():
            self._ask_to_end()
            end_orphans(self.run)
            if left := find_orphans(self.run):
                raise PermanentEngineError(
                    f"processes cannot be ended: {', '.join(str(one.pid) for one in left)}",
                    where=str(self.run),
                )
            for path in self._programs.glob("*"):
                path.unlink()
            remove_sockets(self.run, self._socket)

    @property
    def _programs(self) -> Path:
        return self.run / "programs"

    @property
    def _socket(self) -> Path:
        """The recorded socket, so that callers with another TMPDIR find the same daemon."""
        try:
            return Path(json.loads((self.run / "supervisor.json").read_bytes())["socket"])
        except (FileNotFoundError, ValueError, KeyError):
            return socket_path(self.run, "supervisor.sock")

    def _description(self, name: str) -> Path:
        return self._programs / f"{name}.json"

    def _starts(self, name: str) -> Path:
        return self._programs / f"{name}.starts"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        busy = "another command is changing the programs"
        with locked(self.run / "supervisor.lock", timeout_s=LOCK_TIMEOUT_S, busy=busy):
            yield

    def _call(self, method: str, *arguments: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        try:
            return call(self._socket, method, *arguments, timeout_s=timeout_s)
        except xmlrpc.client.Fault as fault:
            raise PermanentEngineError(
                f"the supervisor refuses {method}: {fault.faultString}",
                where=str(self.logs / "supervisord.log"),
            ) from fault

    def _call_allowing(self, allowed: str, method: str, *arguments: Any) -> None:
        """Call, and take the refusal `allowed` for done."""
        try:
            call(self._socket, method, *arguments)
        except xmlrpc.client.Fault as fault:
            if not fault.faultString.startswith((allowed, "BAD_NAME")):
                raise PermanentEngineError(
                    f"the supervisor refuses {method}: {fault.faultString}",
                    where=str(self.logs / "supervisord.log"),
                ) from fault

    def _remove(self, name: str) -> None:
        self.stop(name)
        self._call_allowing("BAD_NAME", "removeProcessGroup", name)
        self._description(name).unlink(missing_ok=True)
        self._starts(name).unlink(missing_ok=True)
        self._reload()

    def _reload(self) -> None:
        self._write_configuration()
        self._call("reloadConfig")

    def _state(self, row: dict[str, Any]) -> ProcessState:
        try:
            starts = len(self._starts(row["name"]).read_text().splitlines())
        except FileNotFoundError:
            starts = 0
        return ProcessState(
            phase=Phase(row["statename"]),
            pid=row["pid"],
            restarts=max(0, starts - 1),
            detail=row["spawnerr"] or row["description"],
        )

    def _write_configuration(self) -> None:
        content = configuration(self._programs.glob("*.json"))
        write_atomic(self.run / "supervisord.conf", content)

    def _launch_daemon(self) -> None:
        socket = socket_path(self.run, "supervisor.sock")
        write_atomic(self.run / "supervisor.json", json.dumps({"socket": str(socket)}).encode())
        command = [sys.executable, "-m", "supervisor.supervisord"]
        try:
            outcome = subprocess.run(
                [*command, "-c", str(self.run / "supervisord.conf")],
                env=daemon_environment(self.run, self.logs, socket),
                cwd=self.run,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=START_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RetryableEngineError("the supervisor did not start in time") from error
        if outcome.returncode != 0:
            raise PermanentEngineError(
                f"the supervisor did not start: {(outcome.stderr + outcome.stdout).strip()}",
                where=str(self.logs / "supervisord.log"),
            )
        self._wait_alive()

    def _wait_alive(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.alive():
            if time.monotonic() > deadline:
                raise RetryableEngineError(
                    "the supervisor did not start in time",
                    where=str(self.logs / "supervisord.log"),
                )
            time.sleep(_POLL_S)

    def _ask_to_end(self) -> None:
        """Stop everything at once rather than one after the other, then the daemon itself."""
        try:
            states = self.states()
            self._call("stopAllProcesses", _NO_WAIT)
            limits = [stop_wait_s(self._description(name)) for name in states]
            self._wait_stopped(list(states), max(limits, default=0) + _MARGIN_S)
            self._call("shutdown")
            self._wait_absent()
        except (RetryableEngineError, PermanentEngineError, OSError):
            # Asking did not help or nobody is there: the sweep that follows needs no daemon.
            return

    def _wait_absent(self) -> None:
        deadline = time.monotonic() + _MARGIN_S
        while time.monotonic() < deadline:
            try:
                self._call("getState")
            except SupervisorAbsentError:
                return
            except PermanentEngineError:
                pass  # It refuses calls while it ends.
            time.sleep(_POLL_S)

    def _wait_stopped(self, names: list[str], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while any(
            state.pid or state.phase is Phase.STOPPING
            for name, state in self.states().items()
            if name in names
        ):
            if time.monotonic() > deadline:
                raise RetryableEngineError(f"{', '.join(names)} did not stop in {limit_s:.0f} s")
            time.sleep(_POLL_S)
