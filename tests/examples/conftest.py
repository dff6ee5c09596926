"""The example packages are scripts, not part of the product: they are found only here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
sys.path.append(str(GRID))


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both held-out splits, each spoken anew by a process of its own."""
    root = tmp_path_factory.mktemp("spoken")
    for split in ("evaluation", "live"):
        command = [sys.executable, "-m", "speech", split, str(root / split)]
        subprocess.run(command, cwd=GRID, check=True, capture_output=True, timeout=120)
    return root
