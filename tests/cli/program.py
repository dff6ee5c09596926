"""`sluice` as a process of its own, in a fork of a program that has imported what commands import.

`test_main` runs the real program.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from infra.environments.locks import CONTROL

from ..warm_python import warm

PROGRAM = Path(sys.executable).parent / "sluice"


def run(
    *arguments: str, workspace: Path | None = None, folder: Path = Path("/")
) -> subprocess.CompletedProcess[str]:
    """One command, begun in `folder`."""
    environment = {k: v for k, v in os.environ.items() if k != "SLUICE_WORKSPACE"}
    if workspace is not None:
        environment["SLUICE_WORKSPACE"] = str(workspace)
    return subprocess.run(
        [warm(CONTROL), PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env=environment,
        cwd=folder,
    )
