"""The warm Python ends as one that was just started would."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from infra.environments.locks import CONVERTER

from ..warm_python import run, warm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("raise SystemExit('gone')", 1, "gone"),
        ("raise ValueError('what it said last')", 1, "ValueError: what it said last"),
        ("import os; os.abort()", -6, ""),
    ],
)
def test_exit_codes_and_words(program: str, code: int, words: str) -> None:
    command = [str(warm(CONVERTER)), "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, words in done.stderr) == (code, True)


def test_libraries_are_there_and_nothing_of_this_checkout(tmp_path: Path) -> None:
    program = """
import os, sys
print("torch" in sys.modules, "nncf" in sys.modules, any("pipelines" in one for one in sys.modules))
print(sys.argv[1:], os.getcwd(), "TF_CPP_MIN_LOG_LEVEL" in os.environ)
"""
    said = run(CONVERTER, "-c", program, "a b", folder=tmp_path).splitlines()
    assert said == ["True True False", f"['a b'] {tmp_path} False"]


def test_a_program_ends_with_its_caller() -> None:
    command = [str(warm(CONVERTER)), "-c", "import os, time; print(os.getpid(), flush=True)\n"]
    command[-1] += "time.sleep(60)"
    with subprocess.Popen(command, stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        number = int(caller.stdout.readline())
        assert psutil.pid_exists(number)
        caller.kill()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(number) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not psutil.pid_exists(number)
