"""The child's bounds, shown with small programs that stand where the converter's Python does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.conversion import child
from pipelines.conversion.child import Limits
from pipelines.conversion.recipes import recipe_of
from registry.confinement import confined
from registry.errors import PermanentEngineError, RetryableEngineError, UserError

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(bare: Path, tmp_path: Path) -> Any:
    def run(program: str, *, variants: tuple[str, ...] = ("onnx-fp32",), **limits: Any) -> Any:
        python = tmp_path / "python"
        python.write_text(f"#!{sys.executable}\n{PRELUDE}{textwrap.dedent(program)}")
        python.chmod(0o755)
        return child.convert(
            "whisper",
            bare,
            [recipe_of("whisper", name) for name in variants],
            tmp_path / "out",
            parent_digest="a" * 64,
            python=python,
            environment_hash="b" * 64,
            limits=Limits(**limits),
        )

    return run


PRELUDE = """\
import json, os, pathlib, signal, subprocess, sys, time
request = json.loads(pathlib.Path(sys.argv[3]).read_text())
output, result = pathlib.Path(request["output"]), pathlib.Path(request["result"])
def made(name):
    (output / name).mkdir()
    (output / name / "encoder.onnx").write_text(name)
    return {"variant": name, "tool_versions": {}, "seconds": 1.0, "parity": {}}
def answer(**values):
    result.write_text(json.dumps({"confined": os.environ.get("SLUICE_CONFINED", ""), **values}))
"""


def left(tmp_path: Path) -> set[str]:
    return {path.name for path in tmp_path.iterdir()} - {"bare", "python", "out.log"}


def test_output_appears_whole(run: Any, tmp_path: Path) -> None:
    variants = ("onnx-fp32", "onnx-int8")
    program = "answer(variants=[made(recipe['variant']) for recipe in request['recipes']])"
    made = run(program, variants=variants)
    assert [one.recipe.variant for one in made] == ["onnx-fp32", "onnx-int8"]
    assert made[1].folder == tmp_path / "out" / "onnx-int8"
    assert (made[1].folder / "encoder.onnx").read_text() == "onnx-int8"
    assert left(tmp_path) == {"out"}


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("made('onnx-fp32'); sys.exit(3)", "exit code 3"),
        ("made('onnx-fp32'); os.kill(os.getpid(), signal.SIGSEGV)", "signal SIGSEGV"),
        ("made('onnx-fp32')", "exit code 0"),
        ("raise ValueError('what it said last')", "ValueError: what it said last"),
        ("sys.exit(b'\\xff\\xfe'.decode('latin1'))", "exit code 1"),
    ],
)
def test_dead_child_leaves_its_words_and_nothing_else(
    run: Any, tmp_path: Path, program: str, message: str
) -> None:
    with pytest.raises(PermanentEngineError, match=message) as caught:
        run(program)
    assert str(tmp_path / "out.log") in str(caught.value)
    assert left(tmp_path) == set()


def test_errors_keep_their_type(run: Any, tmp_path: Path) -> None:
    error = {"type": "UserError", "what": "is bad", "where": "config.json", "remedy": "mend it"}
    with pytest.raises(UserError, match=r"^config.json: is bad; mend it$"):
        run(f"made('onnx-fp32'); answer(error={error!r})")
    assert left(tmp_path) == set()


@pytest.mark.parametrize("name", ["SystemExit", "annotations", "nothing"])
def test_only_errors_of_ours_are_raised_by_name(run: Any, name: str) -> None:
    error = {"type": name, "what": "is bad", "where": "", "remedy": ""}
    with pytest.raises(PermanentEngineError):
        run(f"answer(error={error!r})")


def test_time_limit_ends_the_child_and_its_children(run: Any, tmp_path: Path) -> None:
    program = """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(os.getpid(), grandchild.pid, flush=True)
        time.sleep(60)
    """
    started = time.monotonic()
    with pytest.raises(RetryableEngineError, match=r"stopped after 1\.5 s"):
        run(program, seconds=1.5)
    assert time.monotonic() - started < 5
    for number in map(int, (tmp_path / "out.log").read_text().split()):
        assert_gone(number)
    assert left(tmp_path) == set()


def test_grandchild_does_not_outlive_a_good_child(run: Any, tmp_path: Path) -> None:
    run(
        """
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(grandchild.pid, flush=True)
        answer(variants=[made("onnx-fp32")])
        """
    )
    assert_gone(int((tmp_path / "out.log").read_text()))


def test_memory_limit(run: Any) -> None:
    with pytest.raises(PermanentEngineError, match="ran out of its 200 MiB of memory"):
        run("time.sleep(0.3); bytearray(1 << 30)", memory_bytes=200 << 20)


def test_interrupt_ends_the_child(run: Any, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(KeyboardInterrupt):
            run("print(os.getpid(), flush=True); time.sleep(60)")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert_gone(int((tmp_path / "out.log").read_text()))
    assert left(tmp_path) == set()


def test_child_knows_no_secret_and_no_proxy(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("PYTHONSTARTUP", "/evil.py")
    with pytest.raises(PermanentEngineError):
        run("print(json.dumps(dict(os.environ)), flush=True)")
    seen = json.loads((tmp_path / "out.log").read_text())
    assert not {"HTTPS_PROXY", "HF_TOKEN", "PYTHONSTARTUP"} & seen.keys()
    assert seen["HF_HUB_OFFLINE"] == "1"
    assert seen["HOME"] != os.environ["HOME"]
    assert not Path(seen["HOME"]).exists()


def test_existing_output_is_refused(run: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists already"):
        run("answer(variants=[])")


def test_bad_requests_start_nothing(run: Any, bare: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no variants were asked for"):
        run("", variants=())
    with pytest.raises(UserError, match="is not a variant of whisper"):
        run("", variants=("tensorrt-fp8",))
    (bare / "evil.bin").write_bytes(b"\x80\x04")
    with pytest.raises(UserError, match="pickle"):
        run("answer(variants=[made('onnx-fp32')])")
    assert not (tmp_path / "out.log").exists()


def test_missing_environment_says_so(bare: Path, tmp_path: Path) -> None:
    with pytest.raises(PermanentEngineError, match="run `make setup`"):
        child.convert(
            "whisper",
            bare,
            [recipe_of("whisper", "onnx-fp32")],
            tmp_path / "out",
            parent_digest="a" * 64,
            python=tmp_path / "absent",
            environment_hash="b" * 64,
        )


def test_child_ends_when_its_parent_is_killed() -> None:
    program = (
        "import threading, time; from pipelines.conversion import job; "
        "threading.Thread(target=job._end_with_parent, daemon=True).start(); "
        "print('up', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"up\n"
        process.stdin.close()
        assert process.wait(5) == 1


def test_child_refuses_the_network() -> None:
    program = (
        "import sys, socket; from pipelines.conversion import job; "
        "sys.addaudithook(job._refuse_network); "
        "socket.create_connection(('127.0.0.1', 9), 1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "tried to reach the network" in done.stderr


def assert_gone(process: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not psutil.pid_exists(process):
            return
        if psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.02)
    pytest.fail(f"process {process} still runs")


def test_no_wall_of_this_kernel_is_left_out(run: Any) -> None:
    (made,) = run("answer(variants=[made('onnx-fp32')])")
    assert made.confined == walls_of_this_kernel()


def walls_of_this_kernel() -> str:
    program = "import os; print(os.environ['SLUICE_CONFINED'])"
    command = confined([sys.executable, "-c", program], [])
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
