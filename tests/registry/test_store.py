from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import IntegrityError, PermanentEngineError, UserError
from registry.manifest import Manifest
from registry.partial import PartialCopy
from registry.store import ContentStore

from .conftest import as_nobody, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ADD = """
import sys
from pathlib import Path
from registry.store import ContentStore
print("ready", flush=True)
print(ContentStore(Path(sys.argv[1])).add(Path(sys.argv[2])).digest, flush=True)
"""
SMALL_DISK_BYTES = 2 << 20


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    if mounted.returncode:
        pytest.skip(f"only root can mount a small disk: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=10)  # noqa: S607


def blob_of(store: ContentStore, manifest: Manifest, path: str) -> Path:
    return store.blob_path(manifest.by_path[path].sha256)


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_goes_in_comes_out(tmp_path: Path, tree: Path, store: ContentStore) -> None:
    manifest = store.add(tree)
    assert manifest == Manifest.of_folder(tree)
    assert store.has(manifest.digest)
    assert store.digests() == (manifest.digest,)
    store.verify(manifest.digest)
    assert store.checkout(manifest.digest, tmp_path / "out" / "deep") == manifest
    manifest.verify_folder(tmp_path / "out" / "deep")
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "deep"]


@settings(max_examples=20, deadline=None)  # each example writes and syncs files
@given(
    st.dictionaries(
        st.sampled_from(["a", "b/c", "b/d", "é", "x y"]), st.binary(max_size=64), min_size=1
    )
)
def test_any_folder_goes_round(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    root = tmp_path_factory.mktemp("round")
    store = ContentStore(root / "store")
    manifest = store.add(write_tree(root / "in", files))
    store.checkout(manifest.digest, root / "out")
    assert {name: (root / "out" / name).read_bytes() for name in files} == files
    assert files_in(root / "out") == set(files)


def test_adding_again_changes_nothing(tree: Path, store: ContentStore, tmp_path: Path) -> None:
    first = store.add(tree)
    before = files_in(tmp_path / "store")
    assert store.add(tree) == first
    assert files_in(tmp_path / "store") == before


def test_the_same_bytes_are_kept_once(tmp_path: Path, store: ContentStore) -> None:
    store.add(write_tree(tmp_path / "one", {"a": b"same", "b": b"same"}))
    store.add(write_tree(tmp_path / "two", {"c": b"same"}))
    assert len(files_in(tmp_path / "store" / "blobs")) == 1
    assert len(store.digests()) == 2


def test_threads_that_add_at_once_agree(tree: Path, store: ContentStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        digests = {manifest.digest for manifest in pool.map(store.add, [tree] * 8)}
    assert len(digests) == 1
    store.verify(digests.pop())


def test_blobs_and_manifests_are_read_only_and_copies_are_not_links(
    tmp_path: Path, tree: Path, store: ContentStore
) -> None:
    manifest = store.add(tree)
    for path in (tmp_path / "store").rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o777 == 0o444
    store.checkout(manifest.digest, tmp_path / "out")
    (tmp_path / "out" / "sub" / "b.txt").write_bytes(b"mine")
    store.verify(manifest.digest)


@pytest.mark.parametrize("damage", ["changed", "truncated", "longer", "gone", "folder"])
def test_a_damaged_blob_is_refused_and_healed_by_adding_again(
    tmp_path: Path, tree: Path, store: ContentStore, damage: str
) -> None:
    manifest = store.add(tree)
    blob = blob_of(store, manifest, "weights.bin")
    content = blob.read_bytes()
    blob.unlink()
    match damage:
        case "changed":
            blob.write_bytes(b"\xff" + content[1:])
        case "truncated":
            blob.write_bytes(content[:-1])
        case "longer":
            blob.write_bytes(content + b"\0")
        case "folder":
            blob.mkdir()
    with pytest.raises(IntegrityError, match=r"the bytes of weights\.bin .*register"):
        store.checkout(manifest.digest, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("out*"))
    with pytest.raises(IntegrityError, match=r"weights\.bin"):
        store.verify(manifest.digest)
    if damage == "folder":
        blob.rmdir()
    store.add(tree)
    store.verify(manifest.digest)
    store.checkout(manifest.digest, tmp_path / "out")
    manifest.verify_folder(tmp_path / "out")


def test_a_damaged_manifest_is_refused_and_healed_by_adding_again(
    tree: Path, store: ContentStore
) -> None:
    digest = store.add(tree).digest
    path = store.manifest_path(digest)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content.replace(b"weights", b"wEights"))
    with pytest.raises(IntegrityError, match="was changed on disk"):
        store.manifest(digest)
    assert not store.has(digest)
    store.add(tree)
    assert store.has(digest)


@pytest.mark.parametrize("digest", ["", "abc", "AB" * 32, "../" * 22, "ab" * 32 + "\n", "é" * 64])
def test_what_is_no_digest_is_not_there(store: ContentStore, digest: str) -> None:
    assert not store.has(digest)
    with pytest.raises(UserError, match="is not a digest"):
        store.manifest(digest)


def test_a_digest_that_was_never_added_is_not_there(store: ContentStore, tmp_path: Path) -> None:
    assert not store.has("ab" * 32)
    with pytest.raises(IntegrityError, match="the store has no abababababab"):
        store.checkout("ab" * 32, tmp_path / "out")


def test_checkout_never_touches_what_is_there(
    tmp_path: Path, tree: Path, store: ContentStore
) -> None:
    digest = store.add(tree).digest
    for name, make in (
        ("folder", Path.mkdir),
        ("file", Path.touch),
        ("link", lambda path: path.symlink_to("nowhere")),
    ):
        make(tmp_path / name)
        with pytest.raises(UserError, match="is there already"):
            store.checkout(digest, tmp_path / name)
    with pytest.raises(PermanentEngineError, match=r"cannot write: (Not a directory|File exists)"):
        store.checkout(digest, tmp_path / "file" / "out")
    with pytest.raises(PermanentEngineError, match="cannot write: File name too long"):
        store.checkout(digest, tmp_path / ("x" * 300))


def test_a_store_that_cannot_be_written_is_one_line(open_folder: Path) -> None:
    source = write_tree(open_folder / "source", {"a": b"a"})
    with (
        as_nobody(),
        pytest.raises(PermanentEngineError, match="cannot write: Permission denied"),
    ):
        ContentStore(open_folder / "store").add(source)
    assert files_in(open_folder) == {"source/a"}


def test_a_full_disk_leaves_the_store_as_it_was(
    tmp_path: Path, small_disk: Path, tree: Path
) -> None:
    store = ContentStore(small_disk / "store")
    kept = store.add(tree)
    before = files_in(small_disk)
    big = {"a": os.urandom(1 << 20), "b": os.urandom(1 << 20), "c": b"small"}
    with pytest.raises(PermanentEngineError, match="cannot write: No space left on device"):
        store.add(write_tree(tmp_path / "big", big))
    assert files_in(small_disk) == before
    store.verify(kept.digest)
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        size = shutil.disk_usage(small_disk).free
        assert filler.write(b"x" * (size - (64 << 10)))
    with pytest.raises(PermanentEngineError, match="cannot write: No space left on device"):
        store.checkout(kept.digest, small_disk / "out")
    assert files_in(small_disk) == before | {"filler"}


def test_a_killed_add_leaves_no_trace_after_the_next(
    tmp_path: Path,
    tree: Path,
    store: ContentStore,
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    large = write_tree(tmp_path / "large", {f"{n:02}.bin": os.urandom(4 << 20) for n in range(8)})
    staging = tmp_path / "store" / "staging"
    child = start(ADD, tmp_path / "store", large)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    while not any(path.stat().st_size for path in staging.glob("*/*")):
        assert child.poll() is None
    child.kill()
    child.wait(timeout=10)
    assert list(staging.glob("*/*"))
    assert store.digests() == ()
    assert not files_in(tmp_path / "store" / "blobs")
    manifest = store.add(tree)
    assert not list(staging.iterdir())
    store.verify(manifest.digest)
    assert store.digests() == (manifest.digest,)
    store.verify(store.add(large).digest)


def killed_add(start: Callable[..., subprocess.Popen[str]], root: Path, folder: Path) -> Path:
    """An add that was killed when it had copied three files; its staging folder."""
    child = start(ADD, root, folder)
    while not any(
        path.read_bytes().count(b"\n") >= 3 for path in (root / "staging").glob("*/notes")
    ):
        assert child.poll() is None
    child.kill()
    child.wait(timeout=10)
    (staged,) = (root / "staging").iterdir()
    return staged


def test_a_killed_add_is_gone_on_with(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    folder = tmp_path / "large"
    write_tree(folder, {f"{n:02}.bin": os.urandom(4 << 20) for n in range(8)})
    left = killed_add(start, tmp_path / "killed", folder)
    names = [json.loads(line)[0] for line in (left / "notes").read_bytes().splitlines()]
    for meanwhile in ("nothing", "notes", "copy", "source"):
        root = shutil.copytree(tmp_path / "killed", tmp_path / meanwhile)
        staged = PartialCopy(root / "staging" / left.name)
        inodes = {name: staged.place(name).stat().st_ino for name in names}
        redone = set(names) if meanwhile == "notes" else {names[0]}
        match meanwhile:
            case "source":
                (folder / names[0]).write_bytes(os.urandom(4 << 20))
            case "copy":
                staged.place(names[0]).chmod(0o644)
                staged.place(names[0]).write_bytes(b"cut short")
            case "notes":
                (staged.folder / "notes").write_bytes(b'["half a li')
            case _:
                redone = set()
        store = ContentStore(root)
        manifest = store.add(folder)
        store.verify(manifest.digest)
        assert manifest == Manifest.of_folder(folder)
        for name in set(names) - redone:
            assert blob_of(store, manifest, name).stat().st_ino == inodes[name]
        assert not list((root / "staging").iterdir())


def test_ctrl_c_keeps_what_was_copied_and_an_error_does_not(tmp_path: Path, tree: Path) -> None:
    store = ContentStore(tmp_path / "store")
    staging = tmp_path / "store" / "staging"

    def stop(error: type[BaseException]) -> Callable[[int], None]:
        def heard(count: int) -> None:
            raise error(count)

        return heard

    with pytest.raises(KeyboardInterrupt):
        store.add(tree, stop(KeyboardInterrupt))
    assert len(list(staging.iterdir())) == 1
    with pytest.raises(ZeroDivisionError):
        store.add(tree, stop(ZeroDivisionError))
    assert not list(staging.iterdir())
    heard: list[int] = []
    assert sum(heard) == 0
    manifest = store.add(tree, heard.append)
    assert sum(heard) == manifest.size


def test_a_blob_is_restored_from_the_same_bytes_only(tree: Path, store: ContentStore) -> None:
    manifest = store.add(tree)
    blob = blob_of(store, manifest, "weights.bin")
    blob.unlink()
    for source in (tree / "sub" / "b.txt", tree, tree / "absent"):
        assert not store.restore(blob.name, source)
        assert files_in(blob.parent) == set()
    assert store.restore(blob.name, tree / "weights.bin")
    store.verify(manifest.digest)
    assert blob.stat().st_mode & 0o777 == 0o444


def test_sweeping_leaves_a_living_add_alone(
    tmp_path: Path, tree: Path, store: ContentStore, start: Callable[..., subprocess.Popen[str]]
) -> None:
    large = write_tree(tmp_path / "large", {f"{n:02}.bin": os.urandom(2 << 20) for n in range(16)})
    child = start(ADD, tmp_path / "store", large)
    adds = 0
    while child.poll() is None:
        store.add(tree)
        adds += 1
    out, error = child.communicate(timeout=10)
    assert (child.returncode, error) == (0, "")
    assert adds
    store.verify(out.split()[1])
