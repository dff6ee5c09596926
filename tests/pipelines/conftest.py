"""One workspace on real engines, lived in by the tests of this folder in order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.environments.locks import CONTROL
from tests.warm_python import warm

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
GRID = CHECKOUT / "examples" / "grid"
PROGRAM = Path(sys.executable).parent / "sluice"
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
        self._program: list[str] = [str(PROGRAM)]
        self._front_door = ""

    def up(self) -> None:
        """Start the engines, and from now on run commands in forks of a warm program."""
        self.json("up")
        self._program = [str(warm(CONTROL)), str(PROGRAM)]

    def down(self) -> None:
        self._program = [str(PROGRAM)]
        self.run("down")

    def run(self, *arguments: str) -> Ran:
        """One command, as its own process."""
        done = subprocess.run(
            [*self._program, *arguments],
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
