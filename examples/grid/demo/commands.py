"""Runs `sluice` as a person would: a child process, its progress shown, its JSON read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND_TIMEOUT_S = 300


class CommandFailedError(Exception):
    """A command ended with an exit code that the story does not expect."""


@dataclass(frozen=True)
class Ran:
    """One command that ended: its exit code, its JSON, and when it ran (epoch seconds)."""

    command: str
    code: int
    value: Any
    began: float
    ended: float


class Sluice:
    """The command line of the checkout, in one workspace."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.ran: list[Ran] = []
        self._program = Path(sys.executable).parent / "sluice"

    def __call__(self, *arguments: str, expect: int = 0) -> Any:
        """Run one command; returns its JSON. Raises CommandFailedError on another exit code."""
        print(f"$ sluice {' '.join(arguments)}", flush=True)
        began = time.time()
        process = subprocess.Popen(
            [self._program, *arguments, "--output", "json"],
            stdout=subprocess.PIPE,
            env=os.environ | {"SLUICE_WORKSPACE": str(self.workspace)},
            text=True,
        )
        try:
            out, _ = process.communicate(timeout=COMMAND_TIMEOUT_S)
        except BaseException:
            process.terminate()
            process.wait(timeout=30)
            raise
        if process.returncode != expect:
            raise CommandFailedError(
                f"`sluice {' '.join(arguments)}` ended with {process.returncode}, not {expect}; "
                f"its last words are above\n{out}"
            )
        value = json.loads(out) if out.strip() else None
        self.ran.append(Ran(arguments[0], process.returncode, value, began, time.time()))
        return value

    def quietly(self, *arguments: str) -> None:
        """Run a command whose outcome does not matter, in a session of its own."""
        subprocess.run(
            [self._program, *arguments],
            env=os.environ | {"SLUICE_WORKSPACE": str(self.workspace)},
            capture_output=True,
            check=False,
            start_new_session=True,
            timeout=COMMAND_TIMEOUT_S,
        )
