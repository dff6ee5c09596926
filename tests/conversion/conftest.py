from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def bare(checkpoints: Any, tmp_path: Path) -> Path:
    return Path(checkpoints.write_bare(tmp_path / "bare"))
