from __future__ import annotations

import os
import subprocess
import sys

from registry.priority import give_way


def test_a_process_and_what_it_starts_give_way() -> None:
    asks = (
        "import os, subprocess, sys\ninput()\nsubprocess.run([sys.executable, '-c', sys.argv[1]])"
    )
    tells = "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"
    with subprocess.Popen(
        [sys.executable, "-c", asks, tells],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        give_way(child.pid)
        said, _ = child.communicate("\n", timeout=20)
    assert int(said) > os.getpriority(os.PRIO_PROCESS, 0)


def test_one_that_has_ended_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait(timeout=20)
    give_way(child.pid)
