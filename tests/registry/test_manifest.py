from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import IntegrityError, UserError
from registry.files import canonical_json
from registry.manifest import FileEntry, Manifest, list_files

from .conftest import as_nobody

if TYPE_CHECKING:
    from pathlib import Path

SHA256 = "ab" * 32

names = st.text(st.sampled_from("abc.é-_ "), min_size=1, max_size=6).filter(
    lambda name: name not in {".", ".."}
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


def disjoint(found: set[str]) -> set[str]:
    """Without those that another one would need as a folder."""
    folders = {str(parent) for path in found for parent in PurePosixPath(path).parents}
    return found - folders


entries = st.builds(
    FileEntry, paths, st.integers(0, 2**50), st.binary(min_size=32, max_size=32).map(bytes.hex)
)
manifests = st.dictionaries(paths, entries, min_size=1, max_size=8).map(
    lambda found: Manifest.of_entries(
        FileEntry(path, found[path].size, found[path].sha256) for path in disjoint(set(found))
    )
)


@given(manifests)
def test_json_round_trip_keeps_the_digest(manifest: Manifest) -> None:
    again = Manifest.from_json(manifest.to_json())
    assert again == manifest
    assert again.digest == manifest.digest == hashlib.sha256(manifest.to_json()).hexdigest()


@given(manifests, st.randoms())
def test_order_of_listing_does_not_matter(manifest: Manifest, random: Any) -> None:
    shuffled = list(manifest.files)
    random.shuffle(shuffled)
    assert Manifest.of_entries(shuffled).digest == manifest.digest


@given(manifests, st.data())
def test_any_change_of_an_entry_is_another_digest(manifest: Manifest, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(manifest.files) - 1))
    old = manifest.files[index]
    new = data.draw(
        st.sampled_from(
            (
                FileEntry(f"{old.path}x", old.size, old.sha256),
                FileEntry(old.path, old.size + 1, old.sha256),
                FileEntry(old.path, old.size, hashlib.sha256(old.sha256.encode()).hexdigest()),
            )
        )
    )
    files = (*manifest.files[:index], new, *manifest.files[index + 1 :])
    changed = Manifest.of_entries(files)
    assert changed.digest != manifest.digest
    with pytest.raises(IntegrityError, match=r"is not the file|is missing|is not in"):
        manifest.verify(changed, "f")


@given(manifests, st.data())
def test_damaged_json_is_refused_or_is_another_manifest(
    manifest: Manifest, data: st.DataObject
) -> None:
    content = bytearray(manifest.to_json())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(IntegrityError):
        assert Manifest.from_json(bytes(content)).digest != manifest.digest


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "..",
        "../x",
        "a/../b",
        "a//b",
        "a/",
        "./a",
        "a\\b",
        "a\0",
        "e\u0301",
        "\ud800",
    ],
)
def test_a_path_that_could_leave_its_folder_is_refused(path: str) -> None:
    rows = [{"path": path, "size": 1, "sha256": SHA256}]
    with pytest.raises(IntegrityError):
        Manifest.from_json(json.dumps({"files": rows}))


@pytest.mark.parametrize(
    "rows",
    [
        [("a", 1, SHA256), ("a", 2, SHA256)],
        [("b", 1, SHA256), ("a", 1, SHA256)],
        [("a", 1, SHA256), ("a/b", 1, SHA256)],
        [("a", 1, SHA256), (2, 1, SHA256)],
        [("a", "1", SHA256), ("b", 1, SHA256)],
        [("a", 1.0, SHA256)],
        [("a", True, SHA256)],
        [("a", -1, SHA256)],
        [("a", 1, SHA256.upper())],
        [("a", 1, SHA256[1:])],
        [("a", 1, None)],
        [(["a"], 1, SHA256)],
    ],
)
def test_rows_that_no_folder_makes_are_refused(rows: list[tuple[Any, ...]]) -> None:
    files = [dict(zip(("path", "size", "sha256"), row, strict=True)) for row in rows]
    with pytest.raises(IntegrityError):
        Manifest.from_json(canonical_json({"files": files}))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"null", b'{"files":5}', b'{"files":[5]}', b"\xff", b"[" * 99_999],
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(IntegrityError, match="is not a manifest"):
        Manifest.from_json(content)


def test_a_folder_hashes_as_sha256sum_would(tree: Path) -> None:
    heard: list[int] = []
    manifest = Manifest.of_folder(tree, heard.append)
    assert [file.path for file in manifest.files] == ["empty", "sub/b.txt", "weights.bin"]
    for file in manifest.files:
        content = (tree / file.path).read_bytes()
        assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert sum(heard) == manifest.size == sum(file.size for file in manifest.files)
    manifest.verify_folder(tree)


def test_verify_names_the_first_file_that_is_not_as_recorded(tree: Path) -> None:
    manifest = Manifest.of_folder(tree)
    (tree / "weights.bin").write_bytes(bytes(range(256)) * 999 + b"x")
    with pytest.raises(IntegrityError, match=r"weights\.bin is not the file that was recorded"):
        manifest.verify_folder(tree)
    (tree / "sub/a.txt").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"sub/a\.txt is not in the manifest"):
        manifest.verify_folder(tree)
    (tree / "empty").unlink()
    with pytest.raises(IntegrityError, match="empty is missing"):
        manifest.verify_folder(tree)


def test_a_renamed_file_is_another_artifact(tree: Path) -> None:
    before = Manifest.of_folder(tree).digest
    (tree / "empty").rename(tree / "void")
    assert Manifest.of_folder(tree).digest != before


def test_links_special_files_and_strange_names_are_refused(tree: Path) -> None:
    def refused(match: str) -> None:
        with pytest.raises(UserError, match=match):
            list_files(tree)

    link = tree / "link"
    link.symlink_to(tree / "empty")
    refused("symbolic links")
    link.unlink()
    link.symlink_to(tree / "sub")
    refused("symbolic links")
    link.unlink()
    os.mkfifo(tree / "pipe")
    refused("not a regular file")
    (tree / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "socket"))
        refused("not a regular file")
    (tree / "socket").unlink()
    (tree / "a\\b").touch()
    refused("backslash")
    (tree / "a\\b").unlink()
    (tree / "e\u0301").touch()
    refused("normal form C")
    (tree / "e\u0301").unlink()
    strange = os.fsencode(tree) + b"/\xff"
    os.close(os.open(strange, os.O_CREAT | os.O_WRONLY))
    refused("not UTF-8")
    os.unlink(strange)  # noqa: PTH108 - a path of bytes
    assert len(list_files(tree)) == 3


def test_a_folder_that_is_none_or_empty_is_refused(tmp_path: Path, tree: Path) -> None:
    for path, match in (
        (tmp_path / "absent", "not a folder"),
        (tree / "empty", "not a folder"),
    ):
        with pytest.raises(UserError, match=match):
            Manifest.of_folder(path)
    (tmp_path / "link").symlink_to(tree)
    with pytest.raises(UserError, match="not a folder"):
        Manifest.of_folder(tmp_path / "link")
    (tmp_path / "hollow" / "inner").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no file"):
        Manifest.of_folder(tmp_path / "hollow")


def test_a_subfolder_that_cannot_be_listed_is_refused(open_folder: Path) -> None:
    (open_folder / "config.json").write_text("{}")
    closed = open_folder / "closed"
    closed.mkdir()
    (closed / "weights.bin").write_text("w")
    closed.chmod(0)
    with (
        as_nobody(),
        pytest.raises(UserError, match=r"closed: cannot be read: Permission denied"),
    ):
        Manifest.of_folder(open_folder)


def test_a_file_that_cannot_be_read_is_refused(open_folder: Path) -> None:
    (open_folder / "weights.bin").write_text("w")
    (open_folder / "weights.bin").chmod(0)
    with (
        as_nobody(),
        pytest.raises(UserError, match=r"weights\.bin: cannot be read: Permission denied"),
    ):
        Manifest.of_folder(open_folder)
