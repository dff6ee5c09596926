"""A controller's process that sleeps past its lease does nothing more when it wakes up."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from canary.ports import Share
from pipelines.rollout.holders import holder_name, is_dead
from registry.errors import LeaseHeldError
from registry.lease import Lease

from .file_world import PLAN, FileWorld, without_envoy
from .stage import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT = Path(__file__).parents[2]
TTL_S = 1.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FileWorld]:
    world = FileWorld(tmp_path / "workspace", clock=time.time, sleep=time.sleep)
    with without_envoy():
        for release in (1, 2):
            world.publish(release)
        assert world.controller().promote(MODEL, 1, PLAN).outcome == "settled"
        yield world


def wait_for(what: Callable[[], object], limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def stop_outside_a_write(process: int, database: Path) -> None:
    """Stop it while it does not hold the database, which nobody could then write for ever."""
    for _ in range(100):
        os.kill(process, signal.SIGSTOP)
        with closing(sqlite3.connect(database, timeout=0.2)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(process, signal.SIGCONT)
                time.sleep(0.01)
            else:
                connection.rollback()
                return
    raise AssertionError("it never lets go of the database")


def bytes_of(world: FileWorld) -> dict[str, bytes]:
    """Everything that a controller may write, the database aside."""
    folders = (world.workspace.run, world.workspace.repository, world.workspace.state / "aliases")
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def test_a_process_that_sleeps_past_its_lease_does_nothing_more(world: FileWorld) -> None:
    command = [sys.executable, "-m", "tests.rollout.paused", str(world.root), str(TTL_S)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as child:
        try:
            wait_for(lambda: world.serving.rollout and world.serving.rollout.held_from)
            stop_outside_a_write(child.pid, world.workspace.state / "journal.db")
            assert world.route is not None
            assert world.route.shares == (Share(1, 50), Share(2, 50))
            with pytest.raises(LeaseHeldError):
                world.controller("bob").resume(MODEL)
            time.sleep(TTL_S)
            result = world.controller("ann").rollback(MODEL, reason="it sleeps")
            assert result.outcome == "rolled-back"
            entries, written = world.journal.read(MODEL), bytes_of(world)
            os.kill(child.pid, signal.SIGCONT)
            answer, _ = child.communicate(timeout=60)
        finally:
            child.kill()
    assert answer.startswith("FencedError: "), answer
    assert len(answer.splitlines()) == 1
    assert world.journal.read(MODEL) == entries
    assert bytes_of(world) == written
    assert world.serving.live == 1
    assert world.alias == 1


def test_a_holder_is_dead_only_when_its_process_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        with monkeypatch.context() as patched:
            patched.setattr(os, "getpid", lambda: child.pid)
            lease = Lease(MODEL, holder_name("ann (on call)"), 1, 0.0)
        assert not is_dead(lease)
        child.kill()
        wait_for(lambda: is_dead(lease), 10)
    assert is_dead(lease)
    assert not is_dead(Lease(MODEL, holder_name("ann"), 1, 0.0))
    other = lease.holder.replace(" on ", " on another-")
    for unknown in ("ann", other, "ann (process 1/1700000000000 on here)"):
        assert not is_dead(Lease(MODEL, unknown, 1, 0.0))
