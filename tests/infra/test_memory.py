"""What a process and its children hold in memory, by the kernel's account."""

from __future__ import annotations

import subprocess
import sys

from infra.local.fleet import memory_bytes

CHILD = "held = bytearray({size}); print('ready', flush=True); input()"
PARENT = """
import subprocess, sys
pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], **pipes)
held = bytearray({size})
child.stdout.readline()
print("ready", flush=True)
input()
child.communicate(b"\\n")
"""


def test_a_family_is_added_up_and_an_ended_one_holds_nothing() -> None:
    code = PARENT.format(size=60_000_000), CHILD.format(size=40_000_000)
    with subprocess.Popen(
        [sys.executable, "-c", *code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        held = memory_bytes(parent.pid)
        parent.communicate("\n", timeout=20)
    # The two interpreters need some themselves.
    assert 100e6 < held < 160e6
    assert memory_bytes(parent.pid) == 0
