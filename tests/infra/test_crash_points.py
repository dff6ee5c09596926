"""A controller that is killed anywhere on real engines loses no request and leaves nothing half."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from .crash_points import CrashStage, Traffic
from .toys import open_door

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.engine

KINDS = ("replace", "start", "write", "effect-confirmed")
"""What differs in kind: a file, a revision, a route, and both sides of a journal's entry."""


def sample(passed: Sequence[str], seed: int = 1) -> list[int]:
    """The number of one point of each kind."""
    chosen = random.Random(seed)  # noqa: S311 - the same each time
    found = []
    for kind in KINDS:
        numbers = [n for n, name in enumerate(passed, start=1) if kind in name.split()]
        found.append(chosen.choice(numbers))
    return found


def test_killed_at_a_point_of_each_kind(tmp_path_factory: pytest.TempPathFactory) -> None:
    with open_door(tmp_path_factory.mktemp("crashes")) as door:
        stage = CrashStage(door)
        stage.begin()
        with Traffic(door) as traffic:
            passed = stage.count()
            for point in sample(passed):
                name = passed[point - 1]
                assert stage.killed_at(point) in {"settled", "not begun"}, name
        assert traffic.failures == []
        assert sum(traffic.answered.values()) > 100
