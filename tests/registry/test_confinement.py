"""Each wall is tried from inside, and by a way out that stood open before."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

from registry.confinement import FILES, NETWORK, SIGNALS, VARIABLE, WALLS, confined, missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def run(program: str, *arguments: object, writable: tuple[Path, ...] = ()) -> str:
    """What the program prints; the last line of its errors when it fails."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(
        confined(command, writable), capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


@cache
def standing() -> tuple[str, ...]:
    return tuple(run(f"import os; print(os.environ['{VARIABLE}'])").split())


def needs(wall: str) -> None:
    if wall not in standing():
        pytest.skip(f"this kernel keeps nobody from: {wall}")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_it_tells_which_walls_stand() -> None:
    assert set(standing()) <= set(WALLS)
    assert missing(" ".join(standing())) == tuple(set(WALLS) - set(standing()))
    assert missing("") == WALLS


def test_no_network_not_even_this_machine(listener: socket.socket) -> None:
    needs(NETWORK)
    address = listener.getsockname()
    program = f"import socket; socket.create_connection({address!r}, timeout=5)"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert "Error" in run(program)
    assert run("import os; print(os.listdir('/sys/class/net'))") != ""
    assert run("import socket; print([name for _, name in socket.if_nameindex()])") == "['lo']"


def test_only_named_folders_can_be_changed(tmp_path: Path) -> None:
    needs(FILES)
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "kept").write_text("kept")
    works = """
import os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
(folder / "new").mkdir()
(folder / "kept").rename(folder / "new" / "moved")
(folder / "new" / "moved").write_text("changed")
(folder / "new" / "moved").unlink()
os.truncate(os.open(folder / "long", os.O_CREAT | os.O_RDWR), 9)
open(os.devnull, "w").write("gone")
print("done", (pathlib.Path(sys.argv[2]) / "kept").read_text())
"""
    assert run(works, inside, outside, writable=(inside,)) == "done kept"
    for change in (
        "(folder / 'new').write_text('x')",
        "(folder / 'kept').write_text('x')",
        "(folder / 'kept').unlink()",
        "(folder / 'kept').rename(folder / 'other')",
        "(folder / 'link').symlink_to('/etc')",
        "(folder / 'sub').mkdir()",
        "os.truncate(folder / 'kept', 0)",
        "os.mkfifo(folder / 'pipe')",
        "os.rename(folder / 'kept', pathlib.Path(sys.argv[2]) / 'stolen')",
    ):
        program = f"import os, pathlib, sys; folder = pathlib.Path(sys.argv[1]); {change}"
        assert "Error" in run(program, outside, inside, writable=(inside,)), change
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_text() == "kept"


def test_nobody_outside_can_be_signalled() -> None:
    needs(SIGNALS)
    assert "PermissionError" in run(f"import os; os.kill({os.getpid()}, 0)")
    own = "import os, subprocess; c = subprocess.Popen(['sleep', '9']); c.kill(); print(c.wait())"
    assert run(own) == "-9"


def test_what_is_started_inherits_the_walls(tmp_path: Path) -> None:
    needs(FILES)
    program = "import subprocess, sys; subprocess.run(['touch', sys.argv[1]], check=True)"
    assert "CalledProcessError" in run(program, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_program_that_is_not_there_says_so() -> None:
    done = subprocess.run(
        confined(["no-such-program"], []), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (127, "no-such-program: No such file or directory\n")
