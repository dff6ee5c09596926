"""A stage for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .stage import MODEL, QUICK, Stage

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Nothing was ever served."""
    return Stage.at(tmp_path)


@pytest.fixture
def served(stage: Stage) -> Stage:
    """Release 1 serves everything."""
    assert stage.controller().promote(MODEL, 1, QUICK).outcome == "settled"
    stage.world.calls.clear()
    stage.world.unanswered = 0
    stage.lines.clear()
    stage.aliases.clear()
    return stage
