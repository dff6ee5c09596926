"""The in-memory world keeps the promises that real engines must keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .conformance import PortConformance
from .world import Behaviour, MemoryWorld

if TYPE_CHECKING:
    from .conformance import ConformanceWorld


class ConformingWorld(MemoryWorld):
    """The in-memory world with the releases that the conformance tests name."""

    first, second = 1, 2
    broken: int | None = 3
    unfit: int | None = 4
    unpublished = 9
    wait_s = 2.0


@pytest.fixture
def world() -> ConformanceWorld:
    return ConformingWorld(
        requests_per_s=0.0,
        behaviours={
            3: Behaviour(fails=True),
            4: Behaviour(unfit=True),
            9: Behaviour(published=False),
        },
    )


class TestMemoryWorld(PortConformance):
    """Runs every test of the suite."""
