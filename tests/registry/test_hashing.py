"""Hashes are right whatever the way in which a file is read, and whoever meddles meanwhile."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import hashing
from registry.errors import UserError
from registry.hashing import PlainFile, SinkError, hash_plain, in_threads

if TYPE_CHECKING:
    from pathlib import Path

MAPPED = 700_000
"""More bytes than are read at a time: such a file is mapped when it is in memory."""


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several windows in a file that a test can afford."""
    monkeypatch.setattr(hashing, "WINDOW", 1 << 20)


def content_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)  # noqa: S311 - any bytes, the same each time


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("leased", [False, True])
@pytest.mark.parametrize("size", [0, 1, 262_144, 262_145, MAPPED, 1 << 20, (5 << 20) + 3])
def test_every_way_of_reading_gives_the_same_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, *, leased: bool, fresh: bool
) -> None:
    if not leased:
        monkeypatch.setattr(hashing, "_lease", lambda _: False)
    path = tmp_path / "file"
    heard: list[int] = []
    path.write_bytes(content_of(size))
    with (tmp_path / "copy").open("wb") as copy:
        found = hash_plain(path, heard.append, into=copy, fresh=fresh)
    assert found.sha256 == hashlib.sha256(content_of(size)).hexdigest()
    assert found.size == size == sum(heard)
    assert found.undisturbed is leased
    assert (tmp_path / "copy").read_bytes() == content_of(size)


@pytest.mark.usefixtures("small_windows")
def test_a_file_that_is_cut_short_under_the_reader_ends_nobody(tmp_path: Path) -> None:
    """Under a mapping this would be a SIGBUS: the one who cuts has to wait for the window."""
    path = tmp_path / "large"
    path.write_bytes(content_of(6 << 20))
    waited: list[float] = []

    def cut() -> None:
        began = time.monotonic()
        os.truncate(path, 10)
        waited.append(time.monotonic() - began)

    cutter = threading.Thread(target=cut)
    with PlainFile(path) as file:
        blocks = file.blocks()
        size = len(next(blocks))
        cutter.start()
        time.sleep(0.1)
        assert not waited
        # Nothing more, when the cut was faster than this thread.
        size += len(next(blocks, b""))
        cutter.join(timeout=5)
        assert waited
        size += sum(len(block) for block in blocks)
        assert size < 6 << 20
        assert not file.undisturbed
    # A lease that is not given back would keep this from being opened for 45 s.
    path.write_bytes(b"mine")


def test_a_lease_is_given_back_though_a_child_has_the_file_open(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content_of(MAPPED))
    with PlainFile(path) as file:
        child = os.fork()
        if child == 0:
            time.sleep(1)
            os._exit(0)
        next(file.blocks())
    began = time.monotonic()
    os.close(os.open(path, os.O_WRONLY))
    assert time.monotonic() - began < 0.5
    os.waitpid(child, 0)


@settings(max_examples=15, deadline=None)  # each example writes files
@given(st.lists(st.integers(0, 2000), min_size=1, max_size=12))
def test_results_are_in_the_order_of_the_items(sizes: list[int]) -> None:
    heard: list[int] = []

    def act(size: int, on_bytes: hashing.OnBytes) -> int:
        on_bytes(size)
        return -size

    assert in_threads(act, sizes, size=lambda one: one, on_bytes=heard.append) == [
        -size for size in sizes
    ]
    assert sum(heard) == sum(sizes)


def test_the_first_error_ends_the_others_at_their_next_block() -> None:
    ended = threading.Event()

    def act(number: int, on_bytes: hashing.OnBytes) -> None:
        if number:
            raise UserError("is refused")
        try:
            for _ in range(1000):
                on_bytes(1)
                time.sleep(0.01)
        finally:
            ended.set()

    began = time.monotonic()
    with pytest.raises(UserError, match="is refused"):
        in_threads(act, [0, 1], size=lambda one: 1 - one)
    assert ended.is_set()
    assert time.monotonic() - began < 5


def test_hashing_that_gives_way_leaves_the_callers_own_priority(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    mine = os.getpriority(os.PRIO_PROCESS, 0)

    def act(_one: Path, _heard: hashing.OnBytes) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) - mine

    assert in_threads(act, [path], size=lambda _: 1, gently=True)[0] > 0
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine


def test_a_sink_that_refuses_is_told_from_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")

    class Full:
        def write(self, content: memoryview) -> object:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(len(content)))

    with pytest.raises(SinkError, match="No space left"):
        hash_plain(path, into=Full())


def test_links_pipes_and_folders_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="symbolic links"):
        hash_plain(tmp_path / "link")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(UserError, match="not a regular file"):
            hash_plain(path)
