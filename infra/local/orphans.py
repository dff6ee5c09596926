"""Finds and ends processes that a dead supervisor left behind.

Every child carries a variable that names the run folder it belongs to, and hands it on to its own
children. The variable is set by the supervisor alone; no user would export it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MARKER = "SLUICE_SUPERVISED_IN"
"""Environment variable of every supervised process: its resolved run folder."""
_GRACE_S = 2.0
_KILL_S = 5.0


def find_orphans(run: Path) -> tuple[psutil.Process, ...]:
    """Live processes of this user that were started under `run`; this process is never one."""
    marker = str(run.resolve())
    return tuple(
        process
        for process in psutil.process_iter(["pid"])
        if process.pid != os.getpid() and _belongs(process, marker)
    )


def end_orphans(run: Path) -> int:
    """End them: SIGTERM, a short grace, SIGKILL. Returns how many there were."""
    orphans = find_orphans(run)
    _signal_all(orphans, psutil.Process.terminate)
    _, stubborn = psutil.wait_procs(orphans, timeout=_GRACE_S)
    # A child may have been born meanwhile.
    remaining = (*stubborn, *find_orphans(run))
    _signal_all(remaining, psutil.Process.kill)
    psutil.wait_procs(remaining, timeout=_KILL_S)
    return len(orphans)


def is_running(identifier: int) -> bool:
    """Whether process `identifier` runs; one that ended and was not yet collected does not."""
    try:
        return bool(psutil.Process(identifier).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _belongs(process: psutil.Process, marker: str) -> bool:
    try:
        own = process.uids().real == os.getuid() and is_running(process.pid)
        return bool(own and process.environ().get(MARKER) == marker)
    except (psutil.Error, OSError):
        return False


def _signal_all(
    processes: tuple[psutil.Process, ...], act: Callable[[psutil.Process], None]
) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            act(process)
