"""What is remembered, and every way in which a memory could be made to say something untrue."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import time
from typing import TYPE_CHECKING

import pytest

from registry.hash_memory import COARSE_MARGIN_NS, KEY_FILE, MARGIN_NS, MAX_AGE_S, HashMemory
from registry.hashing import hash_plain
from registry.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry.hashing import Hashed

OLD_ENOUGH_S = 1.2 * MARGIN_NS / 1e9
START_HASHING = """
import sys
from pathlib import Path
from registry import hash_memory
from registry.hash_memory import HashMemory
from registry.manifest import Manifest
hash_memory._SAVE_EVERY_S = 0
memory = HashMemory(Path(sys.argv[1]), Path(sys.argv[2]))
heard = 0
def stop(count):
    global heard
    heard += count
    if heard > 12 << 20:
        print("killed", flush=True)
        sys.stdin.read()
Manifest.of_folder(Path(sys.argv[3]), stop, memory)
"""


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., HashMemory]:
    """A memory as a new process would see it."""

    def make(clock: Callable[[], float] = time.time) -> HashMemory:
        return HashMemory(tmp_path / "state" / "memory.json", tmp_path / "keys", clock)

    return make


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"w" * 500_000)
    time.sleep(OLD_ENOUGH_S)
    return path


def taught(make: Callable[..., HashMemory], path: Path) -> Hashed:
    memory = make()
    found = hash_plain(path)
    assert memory.remember(found)
    memory.save()
    return found


def test_an_unchanged_file_is_known_to_the_next_process(
    make: Callable[..., HashMemory], weights: Path
) -> None:
    found = taught(make, weights)
    assert found.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert make().find(weights.stat()) == found.sha256


def test_another_inode_size_or_time_is_another_file(
    make: Callable[..., HashMemory], weights: Path, tmp_path: Path
) -> None:
    taught(make, weights)
    twin = tmp_path / "twin.bin"
    twin.write_bytes(weights.read_bytes())
    os.utime(twin, ns=(weights.stat().st_atime_ns, weights.stat().st_mtime_ns))
    assert make().find(twin.stat()) is None
    with weights.open("ab") as file:
        file.write(b"!")
    assert make().find(weights.stat()) is None


def test_an_old_modification_time_put_back_fools_nobody(
    make: Callable[..., HashMemory], weights: Path
) -> None:
    taught(make, weights)
    before = weights.stat()
    with weights.open("r+b") as file:
        file.write(b"evil")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    now = weights.stat()
    assert (now.st_mtime_ns, now.st_size, now.st_ino) == (
        before.st_mtime_ns,
        before.st_size,
        before.st_ino,
    )
    assert make().find(now) is None


def test_a_file_that_changed_just_before_its_reading_is_not_remembered(
    make: Callable[..., HashMemory], tmp_path: Path
) -> None:
    path = tmp_path / "fresh"
    path.write_bytes(b"first")
    assert not make().remember(hash_plain(path))
    # Times from the future, as after a clock was set back, are never old enough.
    os.utime(path, (time.time() + 1000, time.time() + 1000))
    time.sleep(OLD_ENOUGH_S)
    assert not make().remember(hash_plain(path))


def test_whole_seconds_ask_for_a_longer_wait(weights: Path) -> None:
    found = hash_plain(weights)
    second = 1_000_000_000

    class Status:
        st_ctime_ns = found.status.st_ctime_ns // second * second
        st_mtime_ns = st_ctime_ns

    def is_old(after_ns: int) -> bool:
        at = Status.st_ctime_ns + after_ns
        odd = type(found)(found.size, found.sha256, Status(), at, undisturbed=True)  # type: ignore[arg-type] # only its times are read
        return HashMemory._is_old_enough(odd)

    assert not is_old(2 * second)
    assert is_old(COARSE_MARGIN_NS + 1)


def test_a_file_that_somebody_may_write_is_not_remembered(
    make: Callable[..., HashMemory], weights: Path
) -> None:
    """A page that is mapped and dirty can be changed with no trace in the file's times."""
    with weights.open("r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        pages[0] = 1
        time.sleep(OLD_ENOUGH_S)
        found = hash_plain(weights)
        pages[1] = 2
        assert weights.stat().st_ctime_ns == found.status.st_ctime_ns
        assert hash_plain(weights).sha256 != found.sha256
        assert not make().remember(found)


def test_a_file_that_was_opened_for_writing_meanwhile_is_not_remembered(
    make: Callable[..., HashMemory], tmp_path: Path
) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(1 << 20))
    time.sleep(OLD_ENOUGH_S)

    with pytest.raises(BlockingIOError):  # the reading is not given up at once
        hash_plain(path, lambda _: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)))
    found = hash_plain(path, lambda _: path.chmod(0o640))
    assert not found.undisturbed
    assert not make().remember(found)


def test_a_forged_or_damaged_memory_is_forgotten(
    make: Callable[..., HashMemory], weights: Path, tmp_path: Path
) -> None:
    found = taught(make, weights)
    path = tmp_path / "state" / "memory.json"
    good = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    for bad in (
        good.replace(found.sha256.encode(), b"0" * 64),
        json.dumps({"entries": json.loads(good)["entries"], "mac": "00"}).encode(),
        json.dumps({"entries": {}, "mac": None}).encode(),
        good[:-10],
        b"[]",
        b"",
    ):
        path.write_bytes(bad)
        assert make().find(weights.stat()) is None
    path.write_bytes(good)
    assert make().find(weights.stat()) == found.sha256


def test_without_the_owners_key_nothing_is_believed(
    make: Callable[..., HashMemory], weights: Path, tmp_path: Path
) -> None:
    taught(make, weights)
    key = tmp_path / "keys" / KEY_FILE
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    assert make().find(weights.stat()) is None
    key.unlink()
    assert make().find(weights.stat()) is None


def test_a_memory_ends_after_a_week_and_when_the_clock_goes_back(
    make: Callable[..., HashMemory], weights: Path
) -> None:
    taught(make, weights)
    now = time.time()
    assert make(lambda: now + MAX_AGE_S - 60).find(weights.stat())
    assert make(lambda: now + MAX_AGE_S + 60).find(weights.stat()) is None
    assert make(lambda: now - 3600).find(weights.stat()) is None


def test_what_a_network_file_system_says_is_not_remembered(
    make: Callable[..., HashMemory], weights: Path
) -> None:
    memory = make()
    memory._devices = frozenset()
    assert not memory.remember(hash_plain(weights))


def test_two_memories_keep_what_both_learnt(
    make: Callable[..., HashMemory], tmp_path: Path
) -> None:
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(path.name.encode())
    time.sleep(OLD_ENOUGH_S)
    memories = [make(), make()]
    for memory, path in zip(memories, paths, strict=True):
        assert memory.find(path.stat()) is None
        assert memory.remember(hash_plain(path))
    for memory in memories:
        memory.save()
    assert all(make().find(path.stat()) for path in paths)


def test_a_disk_that_refuses_only_costs_the_memory(
    make: Callable[..., HashMemory], weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    manifest = Manifest.of_folder(weights.parent, memory=make())
    assert manifest.by_path["weights.bin"].size == weights.stat().st_size


def test_a_killed_reading_of_a_folder_goes_on_where_it_stood(
    make: Callable[..., HashMemory], tmp_path: Path, start: Callable[..., object]
) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.bin").write_bytes(os.urandom(2 << 20))
    time.sleep(OLD_ENOUGH_S)
    child = start(START_HASHING, tmp_path / "state" / "memory.json", tmp_path / "keys", folder)
    assert child.stdout.readline() == "killed\n"  # type: ignore[attr-defined] # a Popen
    child.kill()  # type: ignore[attr-defined]
    child.wait(timeout=10)  # type: ignore[attr-defined]
    heard: list[int] = []
    manifest = Manifest.of_folder(folder, heard.append, make())
    assert 0 < sum(heard) < manifest.size
    assert manifest == Manifest.of_folder(folder)
