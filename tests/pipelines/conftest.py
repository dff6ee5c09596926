"""One workspace on real engines, lived in by the tests of this folder in order."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from registry.quiet import QUIET_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
GRID = CHECKOUT / "examples" / "grid"
PROGRAM = Path(sys.executable).parent / "sluice"
WARM_PROGRAM = Path(__file__).with_name("warm_program.py")
MODEL = "whisper-grid"
TIMEOUT_S = 180


@dataclass
class Ran:
    """One command that ended."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        return json.loads(self.out)

    @property
    def refusal(self) -> str:
        """The error, which must be one line and no traceback."""
        assert "Traceback" not in self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


class Home:
    """A workspace and the command line in it, run by a warm program while the engines are up."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._warm: subprocess.Popen[bytes] | None = None
        self._runs = 0
        self._front_door = ""

    def up(self) -> None:
        """Start the engines, and a program that has made its imports under their addresses."""
        self.json("up")
        server = self.json("status")["addresses"]["prefect"]
        prefect = self.root / ".sluice" / "prefect"
        named = {"PREFECT_API_URL": f"{server}/api", "PREFECT_HOME": str(prefect)}
        others = {
            "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(prefect / "results"),
            "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
            "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        }
        self._warm = subprocess.Popen(
            [sys.executable, WARM_PROGRAM, self._socket],
            env=self.environment() | QUIET_ENVIRONMENT | named | others,
            cwd=CHECKOUT,
        )
        deadline = time.monotonic() + TIMEOUT_S
        while not self._socket.exists():
            assert self._warm.poll() is None, "the warm program ended"
            assert time.monotonic() < deadline, "the warm program does not listen"
            time.sleep(0.05)

    def down(self) -> None:
        if self._warm is not None:
            self._warm.kill()
            self._warm.wait()
            self._warm = None
            self._socket.unlink(missing_ok=True)
        self.run("down")

    @property
    def _socket(self) -> Path:
        return self.root.parent / "warm"

    def run(self, *arguments: str) -> Ran:
        """One command, as its own process."""
        return self._run_cold(*arguments) if self._warm is None else self._run_warm(*arguments)

    def _run_warm(self, *arguments: str) -> Ran:
        self._runs += 1
        out, err = (self.root.parent / f"{name}-{self._runs}" for name in ("out", "err"))
        for path in (out, err):
            path.touch()
        asked = {
            "arguments": arguments,
            "environment": self.environment() | QUIET_ENVIRONMENT,
            "folder": str(self.root.parent),
            "out": str(out),
            "err": str(err),
        }
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(str(self._socket))
            with connection.makefile("rw") as lines:
                lines.write(json.dumps(asked) + "\n")
                lines.flush()
                process = int(lines.readline())
                try:
                    code = int(lines.readline())
                except TimeoutError:
                    os.kill(process, signal.SIGKILL)
                    raise
        return Ran(code, out.read_text(), err.read_text())

    def _run_cold(self, *arguments: str) -> Ran:
        done = subprocess.run(
            [PROGRAM, *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            cwd=self.root.parent,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str, expect: int = 0) -> Any:
        ran = self.run(*arguments, "--output", "json")
        assert ran.code == expect, f"{arguments} ended with {ran.code}:\n{ran.err}\n{ran.out}"
        return ran.value

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PROGRAM, *arguments],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def environment(self) -> dict[str, str]:
        return os.environ | {"SLUICE_WORKSPACE": str(self.root)}

    def history(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.json("history", MODEL, "--all", "--limit", "100000")
        return entries

    def front_door(self) -> str:
        """Its address, which stays the same from one `up` to the next."""
        if not self._front_door:
            self._front_door = self.json("status")["addresses"]["front door"]
        return self._front_door


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A workspace with its engines up, and nothing in it."""
    root = tmp_path_factory.mktemp("path") / "workspace"
    begun = Home(root)
    dataset = str(GRID / "data" / "evaluation")
    begun.json("init", str(root), "--model", MODEL, "--dataset", dataset)
    try:
        begun.up()
        yield begun
    finally:
        begun.down()


@pytest.fixture(scope="session")
def home(engines: Home) -> Home:
    """The good model registered and converted, release 1 live."""
    policy = engines.root / "models" / f"{MODEL}.toml"
    quick = policy.read_text().replace("hold_s = 3.0", "hold_s = 0.5")
    policy.write_text(quick.replace("bake_s = 5.0", "bake_s = 0.5"))
    engines.json("register", MODEL, str(GRID / "models" / "whisper-grid"))
    settings = engines.root / "sluice.toml"
    settings.write_text(f"{settings.read_text()}\n[conversion]\nshards = 2\n")
    names = ("onnx-fp32", "openvino-fp16", "openvino-int8")
    converted = engines.run("convert", MODEL, *(word for name in names for word in ("-v", name)))
    assert converted.code == 0, converted.err
    assert "In 2 parts at a time" in converted.err
    engines.json("gate", MODEL, "-v", "openvino-fp16")
    engines.json("promote", MODEL, "-v", "openvino-fp16")
    return engines
