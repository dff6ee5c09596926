"""Runs a short program behind the walls of `registry.confinement`, with a bound in seconds."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from registry.confinement import confined
from registry.errors import RetryableEngineError
from registry.quiet import QUIET_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def run_confined(
    command: Sequence[str],
    scratch: Path,
    *,
    bound_s: float,
    what: str,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """What became of `command`, which ran in `scratch`, the only folder that it may write to.

    It sees `environment`, a plain PATH, a home and nothing of the caller's variables. Raises
    RetryableEngineError, which calls it `what`, when it takes longer than `bound_s` seconds; it
    is gone then.
    """
    home = {"PATH": "/usr/bin:/bin", "HOME": str(scratch), "TMPDIR": str(scratch)}
    try:
        return subprocess.run(
            confined(command, [scratch]),
            cwd=scratch,
            env=QUIET_ENVIRONMENT | home | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=bound_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RetryableEngineError(
            f"{what} took longer than {bound_s:g} s",
            where=Path(command[0]).name,
            remedy="give it more time, or less to do",
        ) from error
