"""Takes a secret out of a running program's arguments, which everybody on the machine may read.

Triton takes the secret of its restricted API as an option only, and keeps a copy of what it read.
Then the words that `ps` shows are overwritten in its memory. Until it has read them, some tens of
milliseconds, they can be seen. Where the kernel forbids it (Yama's `ptrace_scope` 2 and 3), they
stay: then whoever has an account on the machine can ask the server's restricted API.
Standard library only: `launch.py` and `guardian.py` run it before and beside every start.
"""

from __future__ import annotations

import ctypes
import os
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_PTRACER = 0x59616D61
_ARGUMENTS_START, _ARGUMENTS_END = 45, 46
"""Fields 48 and 49 of /proc/PID/stat (proc_pid_stat(5)), counted from the third."""
_WAIT_S = 30.0
POLL_S = 0.002
"""Until the program has read its arguments."""


def hide(pid: int, secret: bytes) -> bool:
    """Overwrite `secret` with stars in the arguments of `pid`, if the program has read them.

    It has when a second thread runs: Triton reads its options before it starts any. Whether there
    is nothing left to try: they are overwritten, the process ended, or it may not be written.
    """
    with suppress(OSError):
        if len(os.listdir(f"/proc/{pid}/task")) == 1:  # noqa: PTH208 - names are all it needs
            return False
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[_ARGUMENTS_START]), int(fields[_ARGUMENTS_END])
        with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
            memory.seek(start)
            found = memory.read(end - start)
            memory.seek(start)
            memory.write(found.replace(secret, b"*" * len(secret)))
    return True


def hide_in_successor(secret: bytes) -> None:
    """Leave a process behind that hides `secret` in the program which this process becomes."""
    program = os.getpid()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if (successor := os.fork()) == 0:
            # The program's output must end with the program.
            os.closerange(0, writing + 1)
            deadline = time.monotonic() + _WAIT_S
            while not hide(program, secret) and time.monotonic() < deadline:
                time.sleep(POLL_S)
        else:
            os.write(writing, str(successor).encode())
        os._exit(0)
    os.waitpid(child, 0)
    # Where Yama restricts who may write a process's memory, it may name one that does.
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, int(os.read(reading, 20)), 0, 0, 0)
    os.close(reading)
    os.close(writing)
