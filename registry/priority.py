"""Work that can wait gives way: whoever serves live traffic on the same machine goes first."""

from __future__ import annotations

import os

_NICER = 5
"""Steps of Unix niceness, each worth about a quarter more for the other side."""


def give_way(process: int) -> None:
    """Let the process, and what it starts from now on, have the processor after others.

    Alone on a machine it runs as fast as ever. Does nothing when the process has ended.
    """
    try:
        mine = os.getpriority(os.PRIO_PROCESS, process)
        os.setpriority(os.PRIO_PROCESS, process, mine + _NICER)
    except ProcessLookupError:
        return
