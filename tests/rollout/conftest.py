"""A stage for each test."""

from __future__ import annotations

import pytest

from .stage import MODEL, QUICK, Stage


@pytest.fixture
def stage() -> Stage:
    """Nothing was ever served."""
    return Stage.in_memory()


@pytest.fixture
def served(stage: Stage) -> Stage:
    """Release 1 serves everything."""
    assert stage.controller().promote(MODEL, 1, QUICK).outcome == "settled"
    stage.world.calls.clear()
    stage.world.unanswered = 0
    stage.lines.clear()
    stage.aliases.clear()
    return stage
