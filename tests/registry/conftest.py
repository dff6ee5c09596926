"""Folders on disk, databases, a user who may do nothing, and processes of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .postgres import running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .postgres import Server

CHECKOUT = Path(__file__).resolve().parents[2]
NOBODY = 65_534


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three files in two folders, one of them empty."""
    files = {"weights.bin": bytes(range(256)) * 999, "sub/b.txt": b"b", "empty": b""}
    return write_tree(tmp_path / "tree", files)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may reach: pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One for all processes of this run."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or os.getpid()
    with running_server(f"postgres-{run}") as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Server) -> Iterator[str]:
    """A database of the test's own, with the schema of this version."""
    with postgres.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty journal's, on each database that there is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'journal.db'}"
    return str(request.getfixturevalue("postgres_url"))


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read and write everything; in the block, this process is somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def start_python(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program; what still runs when the block ends is killed."""
    child = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate(timeout=10)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start_python` until the test ends."""
    with ExitStack() as stack:
        yield lambda program, *arguments: stack.enter_context(start_python(program, *arguments))
