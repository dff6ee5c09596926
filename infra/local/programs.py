"""What the supervisor is told: programs as JSON, its configuration, its own environment.

No path stands in the configuration, because its reader would take `;`, `#` and `%` in one as its
own. Paths come as variables, and a program's command through `launch.py`.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.local import launch
from infra.local.orphans import MARKER
from registry.quiet import QUIET_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_INHERITED = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ", "USER")
"""All that programs see of the caller: no proxies, no credentials, no PYTHON* settings."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `name` is `[a-z0-9-]`; `environment` comes on top of a small common one.

    A program that ends on its own is started again when `autorestart` is set. One that ended
    sooner than `settle_s` after its start counts as a failed start, and after `restarts` failed
    starts in a row it stays down (FATAL). `stop_wait_s` is how long it may take to stop before
    its whole group is killed.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path("/")
    autorestart: bool = True
    restarts: int = 3
    settle_s: int = 5
    stop_wait_s: int = 10
    secret: str = ""
    """Within the command; overwritten there once the program has read it."""


def describe(program: Program, run: Path) -> bytes:
    """The program as JSON, for `launch.py` and for `configuration`."""
    environment = _inherited() | QUIET_ENVIRONMENT | dict(program.environment)
    values = {
        "command": list(program.command),
        "environment": environment | {MARKER: str(run)},
        "folder": str(program.folder),
        "secret": program.secret,
        "autorestart": program.autorestart,
        "restarts": program.restarts,
        "settle_s": program.settle_s,
        "stop_wait_s": program.stop_wait_s,
    }
    return json.dumps(values, indent=1).encode()


def stop_wait_s(description: Path) -> int:
    """How long the described program may take to stop, in seconds."""
    return int(json.loads(description.read_bytes())["stop_wait_s"])


def configuration(descriptions: Iterable[Path]) -> bytes:
    """Supervisord's configuration for the described programs."""
    sections = [_DAEMON]
    for path in sorted(descriptions):
        values: dict[str, Any] = json.loads(path.read_bytes())
        values |= {"name": path.stem, "autorestart": str(values["autorestart"]).lower()}
        sections.append(_PROGRAM.format(**values))
    return "\n".join(sections).encode()


def daemon_environment(run: Path, logs: Path, socket: Path) -> dict[str, str]:
    """The daemon's variables: its configuration's paths, and the mark of its children."""
    return _inherited() | {
        MARKER: str(run),
        "SLUICE_RUN": str(run),
        "SLUICE_LOGS": str(logs),
        # Expanded twice by its reader.
        "SLUICE_PROGRAM_LOGS": str(logs).replace("%", "%%"),
        "SLUICE_SOCKET": str(socket),
        "SLUICE_LAUNCH": shlex.join([sys.executable, "-I", "-S", str(Path(launch.__file__))]),
    }


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


_DAEMON = """\
[supervisord]
logfile = %(ENV_SLUICE_LOGS)s/supervisord.log
logfile_maxbytes = 1MB
logfile_backups = 2
pidfile = %(ENV_SLUICE_RUN)s/supervisord.pid
childlogdir = %(ENV_SLUICE_LOGS)s
identifier = sluice

[unix_http_server]
file = %(ENV_SLUICE_SOCKET)s
chmod = 0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
_PROGRAM = """\
[program:{name}]
command = %(ENV_SLUICE_LAUNCH)s {name}
autostart = true
autorestart = {autorestart}
startsecs = {settle_s}
startretries = {restarts}
stopwaitsecs = {stop_wait_s}
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = %(ENV_SLUICE_PROGRAM_LOGS)s/{name}.log
stdout_logfile_maxbytes = 5MB
stdout_logfile_backups = 2
"""
