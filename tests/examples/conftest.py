"""The example packages are scripts, not part of the product: they are found only here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
sys.path.append(str(GRID))


@pytest.fixture(scope="session")
def data() -> Path:
    """The sets as `make data` made them here, each by a process of its own."""
    return GRID / "data"
