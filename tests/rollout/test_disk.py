"""The disk is full or fails at any write: a clear word, a legal state, and nothing half-written."""

from __future__ import annotations

import errno
import random
import re
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from canary.rollout import Phase
from registry import sqlite_files
from registry.errors import (
    PermanentEngineError,
    RetryableEngineError,
    SluiceError,
)
from registry.lease import Leases

from ..extent import is_whole
from .failing_files import FailingFiles
from .file_world import PLAN, FileWorld, check_published, without_envoy
from .stage import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAMPLE = 8
"""Of the kinds of write on each file that are refused once; a whole run refuses all of them."""
_RANDOM = re.compile(r"\.?([a-z0-9]+(?:\.[a-z]+)?)\.[a-z0-9_]{8}$")


@pytest.fixture(scope="module", autouse=True)
def no_envoy() -> Iterator[None]:
    with without_envoy():
        yield


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> FileWorld:
    """Release 1 is published and serves."""
    world = FileWorld(tmp_path_factory.mktemp("disk") / "served")
    world.publish(1)
    assert world.controller().promote(MODEL, 1, PLAN).outcome == "settled"
    return world


def release_and_promote(world: FileWorld) -> str:
    world.publish(2)
    return str(world.controller().promote(MODEL, 2, PLAN).outcome)


def kind_of(name: str) -> str:
    """The operation and the file, without what is random in temporary names."""
    return _RANDOM.sub(r"\1", name)


def places(served: FileWorld, folder: Path) -> dict[str, int]:
    """Number of the first operation of each kind on each file, of all that a promotion does."""
    world = served.copied_to(folder / "counted")
    with FailingFiles(world.root.resolve()).mounted() as disk:
        assert release_and_promote(world) == "settled"
    found: dict[str, int] = {}
    for number, name in enumerate(disk.names, start=1):
        found.setdefault(kind_of(name), number)
    return found


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_any_write(served: FileWorld, tmp_path: Path, code: int) -> None:
    found = places(served, tmp_path)
    assert len(found) > 40
    names = sorted(found)
    if not is_whole:
        names = random.Random(code).sample(names, SAMPLE)  # noqa: S311 - the same each time
    for name in names:
        number = found[name]
        world = served.copied_to(tmp_path / str(number))
        # A full disk stays full until somebody frees space; a bad sector fails once.
        lasting = code == errno.ENOSPC
        disk = FailingFiles.raising(world.root, code, number, lasting=lasting)
        refusal = ""
        with disk.mounted():
            try:
                release_and_promote(world)
            except SluiceError as error:
                refusal = str(error) if error.where else "no place is named"
        assert refusal != "no place is named"
        assert len(disk.names) >= number, name
        check_word(world, refusal, code)
        check_legal(world)
        recover(world)
        assert world.serving.rollout is None
        check_legal(world)


def check_word(world: FileWorld, refusal: str, code: int) -> None:
    """Somebody was told in one line: by an error, or by the rollout's own reasons."""
    assert "\n" not in refusal
    assert "Traceback" not in refusal
    rollout = world.serving.rollout or world.serving.history[-1]
    told = [refusal, rollout.reason, *world.lines]
    words = ("No space left", "Input/output error")[code == errno.EIO]
    assert any(words in line for line in told) or rollout.number == 2, told


def check_legal(world: FileWorld) -> None:
    serving, route = world.serving, world.route
    assert route is not None
    assert sum(share.weight for share in route.shares) == 100
    for share in route.shares:
        if share.weight:
            check_published(world.workspace, MODEL, share.release)
    # A version folder is either whole or not there.
    visible = {name for name in world.visible if not name.startswith("configs/.")}
    assert visible <= {"1", "2", "configs/r1.pbtxt", "configs/r2.pbtxt"}, visible
    assert {"1", "configs/r1.pbtxt"} <= visible
    if "2" in visible:
        one, two = (
            {str(path.relative_to(folder)) for path in folder.rglob("*")}
            for folder in (world.workspace.repository / MODEL / name for name in ("1", "2"))
        )
        assert one == two
    if serving.rollout is None:
        assert {share.release: share.weight for share in route.shares} == {serving.live: 100}


def recover(world: FileWorld) -> None:
    """Space was freed: the same commands again."""
    world.pass_time(61)
    world.publish(2)
    check_published(world.workspace, MODEL, 2)
    result = world.controller("after").resume(MODEL)
    if world.serving.rollout is not None:
        assert world.serving.rollout.phase in (Phase.PAUSED, Phase.HALTED)
        result = world.controller("after").resume(MODEL)
    assert result.outcome in {"settled", "rolled-back", "rejected", "idle"}
    assert world.controller("after").resume(MODEL).outcome == "idle"
    assert world.alias == world.serving.live


def fill(world: FileWorld) -> None:
    for _ in range(10_000):
        world.journal.append(MODEL, "note", {"filling": "x" * 5000}, actor="t", at=world.now)


def test_a_full_database_is_told_and_changes_nothing(served: FileWorld, tmp_path: Path) -> None:
    world = served.copied_to(tmp_path / "full")
    world.publish(2)
    with world.journal.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    before = len(world.journal.read(MODEL))
    with pytest.raises(PermanentEngineError, match="the disk is full; nothing was changed"):
        fill(world)
    with pytest.raises(SluiceError, match=r"journal\.db"):
        world.controller().promote(MODEL, 2, PLAN)
    after = [entry.kind for entry in world.journal.read(MODEL)[before:]]
    check_legal(world)
    # Opening it anew lifts the limit, as freeing space does.
    world.journal.close()
    world.pass_time(61)
    assert world.controller().resume(MODEL).outcome in {"idle", "settled"}
    if world.serving.live == 1:
        assert "rollout-started" not in after
        assert world.controller().promote(MODEL, 2, PLAN).outcome == "settled"
    check_legal(world)


def test_a_locked_database_is_waited_for_and_then_told(
    served: FileWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = served.copied_to(tmp_path / "locked")
    world.publish(2)
    world.journal.close()
    monkeypatch.setattr(sqlite_files, "BUSY_TIMEOUT_S", 0.5)
    other = sqlite3.connect(world.workspace.state / "journal.db", isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        for act in (
            lambda: world.controller().promote(MODEL, 2, PLAN),
            lambda: Leases(world.journal).take_over(MODEL, "x", now=world.now, ttl_s=9),
        ):
            began = time.monotonic()
            with pytest.raises(RetryableEngineError, match="kept the database locked"):
                act()
            assert 0.4 < time.monotonic() - began < 10
        check_legal(world)
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert world.controller().promote(MODEL, 2, PLAN).outcome == "settled"
