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
    """A workspace and the command line in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *arguments: str) -> Ran:
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
        address: str = self.json("status")["addresses"]["front door"]
        return address


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Engines up, the good model registered and converted, release 1 live."""
    root = tmp_path_factory.mktemp("path") / "workspace"
    lived = Home(root)
    lived.json("init", str(root), "--model", MODEL, "--dataset", str(GRID / "data" / "evaluation"))
    policy = root / "models" / f"{MODEL}.toml"
    quick = policy.read_text().replace("hold_s = 3.0", "hold_s = 0.5")
    policy.write_text(quick.replace("bake_s = 5.0", "bake_s = 0.5"))
    try:
        lived.json("up")
        lived.json("register", MODEL, str(GRID / "models" / "whisper-grid"))
        lived.json(
            "convert", MODEL, "-v", "onnx-fp32", "-v", "openvino-fp16", "-v", "openvino-int8"
        )
        lived.json("gate", MODEL, "-v", "openvino-fp16")
        lived.json("promote", MODEL, "-v", "openvino-fp16")
        yield lived
    finally:
        lived.run("down")
