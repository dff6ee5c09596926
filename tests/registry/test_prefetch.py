from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

# A package that takes its time; imported by two threads at once it would be seen half-made.
SLOW = """
import sys, time
from pathlib import Path
from registry.prefetch import prefetch, prefetched
folder = Path(sys.argv[1])
(folder / "slow_package.py").write_text("import time; time.sleep(0.3); DONE = True")
sys.path.insert(0, str(folder))
"""


def run(start: Callable[..., subprocess.Popen[str]], program: str, folder: object) -> list[str]:
    out, error = start(SLOW + program, folder).communicate(timeout=20)
    assert error == ""
    return out.split()


def test_a_module_is_whole_once_prefetched_returns(
    start: Callable[..., subprocess.Popen[str]], tmp_path: object
) -> None:
    program = """
began = time.monotonic()
prefetch("slow_package")
print(time.monotonic() - began < 0.2)
prefetched()
print("slow_package" in sys.modules, sys.modules["slow_package"].DONE)
prefetched()
"""
    assert run(start, program, tmp_path) == ["True"] * 3


def test_several_are_waited_for_and_an_absent_one_is_told_where_it_is_used(
    start: Callable[..., subprocess.Popen[str]], tmp_path: object
) -> None:
    program = """
prefetch("absent_package", "json.tool")
prefetch("slow_package")
prefetched()
print("slow_package" in sys.modules)
try:
    import absent_package
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert run(start, program, tmp_path) == ["True", "absent_package"]


def test_telemetry_is_off_before_anything_is_imported(
    start: Callable[..., subprocess.Popen[str]], tmp_path: object
) -> None:
    program = """
import os
os.environ.pop("MLFLOW_DISABLE_TELEMETRY", None)
prefetch("slow_package")
print(os.environ["MLFLOW_DISABLE_TELEMETRY"])
"""
    assert run(start, program, tmp_path) == ["true"]
