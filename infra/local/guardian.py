"""Stands between a short-lived owner and its engine: when the owner is gone, so is the engine.

A gate's private Triton must not outlive the gate, not even one that was killed with SIGKILL. The
owner holds one end of a pipe, this process the other: the pipe's end means that the owner ended,
however it ended. The guardian adopts the engine's orphans, so that nothing escapes it.
Standard library only. The pipe is standard input; its first line is the engine's description.
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_KILL_S = 5.0
_POLL_S = 0.1


def main() -> int:
    """Run the described command until it or its owner ends. Returns the command's exit code."""
    description = json.loads(_first_line())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with Path(description["log"]).open("ab") as log:
        child = subprocess.Popen(
            description["command"],
            env=description["environment"],
            cwd=description["folder"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
            # Should the guardian itself be killed, the kernel ends the engine.
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),  # noqa: PLW1509
        )
    # Beside this file, which no import finds: only the standard library is on the path.
    hidden = runpy.run_path(str(Path(__file__).with_name("hidden_argument.py")))
    secret, wait_s = description["secret"].encode(), hidden["POLL_S"]
    while child.poll() is None and not _owner_gone(wait_s):
        if wait_s != _POLL_S and hidden["hide"](child.pid, secret):
            wait_s = _POLL_S
    _end(child, description["grace_s"])
    for region in Path("/dev/shm").glob(description["regions"]):  # noqa: S108 - POSIX shared memory
        region.unlink(missing_ok=True)
    return child.returncode


def _first_line() -> bytes:
    """The description; the bytes are taken one by one, so that the pipe's end stays to be seen."""
    line = b""
    while (byte := os.read(0, 1)) not in {b"", b"\n"}:
        line += byte
    return line


def _owner_gone(wait_s: float) -> bool:
    readable, _, _ = select.select([0], [], [], wait_s)
    return bool(readable) and not os.read(0, 1)


def _end(child: subprocess.Popen[bytes], grace_s: float) -> None:
    """SIGTERM, a grace, then SIGKILL, for the engine's whole group and whatever it left behind."""
    if child.poll() is None:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=grace_s)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + _KILL_S
    while time.monotonic() < deadline and _kill_adopted():
        time.sleep(0.01)


def _kill_adopted() -> bool:
    """Kill children that are ours by adoption; whether there were any."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    for task in Path("/proc/self/task").iterdir():
        for identifier in (task / "children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(identifier), signal.SIGKILL)
    return True


if __name__ == "__main__":
    sys.exit(main())
