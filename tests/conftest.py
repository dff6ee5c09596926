"""Checkpoints and what conversions made of them: kept once, shared by rooms, workers and runs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent


def _load(path: Path) -> Any:
    """A module of the tests, which are no package."""
    if path.stem not in sys.modules:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    return sys.modules[path.stem]


@pytest.fixture(scope="session")
def checkpoints() -> Any:
    return _load(TESTS / "conversion" / "checkpoints.py")


@pytest.fixture(scope="session")
def triton() -> Any:
    return _load(TESTS / "model_repository" / "triton_server.py")


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
