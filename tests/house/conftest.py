"""The house's files as git would commit them: tracked, and new ones that are not ignored."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def checkout() -> Path:
    return CHECKOUT


@pytest.fixture(scope="session")
def files(checkout: Path) -> tuple[Path, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607
        cwd=checkout,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    ).stdout
    found = (checkout / name for name in listed.split("\0") if name)
    return tuple(sorted(path for path in found if path.is_file()))


@pytest.fixture(scope="session")
def modules(files: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(path for path in files if path.suffix == ".py")
