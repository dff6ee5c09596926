"""Checkpoints and what conversions made of them: kept once, shared by rooms, workers and runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers take whole files; files that live in one home are taken together."""
    for item in items:
        shares = "home" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("home" if shares else str(item.path)))


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
