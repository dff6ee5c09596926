"""Checkpoints and what conversions made of them: kept once, shared by rooms, workers and runs."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from collections.abc import Collection

TESTS = Path(__file__).resolve().parent


class WholeFiles(LoadFileScheduling):
    """A worker takes whole files, and all files whose tests live in one home are one."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "home" if file in _files_in_home() else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WholeFiles:
    return WholeFiles(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take longest come first."""
    items.sort(key=lambda item: _rank(getattr(item, "fixturenames", ())))


def _rank(fixtures: Collection[str]) -> int:
    return 0 if "home" in fixtures else 1 if "engines" in fixtures else 2


@cache
def _files_in_home() -> frozenset[str]:
    """Paths below the checkout, as tests are named by."""
    files = (TESTS / "pipelines").glob("test_*.py")
    return frozenset(
        path.relative_to(TESTS.parent).as_posix()
        for path in files
        if "home: Home" in path.read_text()
    )


@pytest.fixture(scope="session")
def checkpoints() -> Any:
    from .conversion import checkpoints

    return checkpoints


@pytest.fixture(scope="session")
def triton() -> Any:
    from .model_repository import triton_server

    return triton_server


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp().parent


@pytest.fixture(scope="session")
def tiny(checkpoints: Any, shared: Path) -> Path:
    return Path(checkpoints.tiny_checkpoint(shared))


@pytest.fixture(scope="session")
def variants(checkpoints: Any, tiny: Path, shared: Path) -> Any:
    return checkpoints.all_variants("whisper", tiny, shared)


@pytest.fixture(scope="session")
def grid_variants(checkpoints: Any, shared: Path) -> Any:
    return checkpoints.all_variants("whisper", checkpoints.MODELS / "whisper-grid", shared)
