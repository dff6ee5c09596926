"""A `.keras` file and its weights before anything opens them: entries, sizes, check sums."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.conversion.lip_reading.source import inspect
from registry.errors import UserError

from . import lip_folders as lips

HERE = Path(__file__).resolve().parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(lips.write_bare(tmp_path / "bare"))


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        inspect(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("../evil.json", b"{}", "would leave the archive's folder"),
        ("/etc/evil", b"{}", "would leave the archive's folder"),
        ("a\\..\\evil", b"{}", "would leave the archive's folder"),
        ("C:evil", b"{}", "would leave the archive's folder"),
        ("assets/words.txt", b"a", "no part of the conversion reads"),
        ("model.weights.npz", b"a", "may hold a pickle"),
        ("optimizer.pkl", b"a", "may hold a pickle"),
    ],
)
def test_entry_that_should_not_be_there(
    folder: Path, name: str, content: bytes, reason: str
) -> None:
    lips.write_archive(folder / "model.keras", lips.entries() | {name: content})
    assert reason in refused(folder)


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_entry_that_is_missing(folder: Path, name: str) -> None:
    content = {key: data for key, data in lips.entries().items() if key != name}
    lips.write_archive(folder / "model.keras", content)
    assert f"has no '{name}'" in refused(folder)


def test_entry_that_is_there_twice(folder: Path) -> None:
    with (
        zipfile.ZipFile(folder / "model.keras", "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("config.json", "{}")
    assert "holds 'config.json' twice" in refused(folder)


def test_entry_that_is_a_link(folder: Path) -> None:
    entry = zipfile.ZipInfo("metadata.json")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    content = lips.entries()
    del content["metadata.json"]
    lips.write_archive(folder / "model.keras", content)
    with zipfile.ZipFile(folder / "model.keras", "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert "'metadata.json' is a link" in refused(folder)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_entry_that_explodes(folder: Path, name: str) -> None:
    content = lips.entries()
    del content[name]
    lips.write_archive(folder / "model.keras", content)
    with zipfile.ZipFile(folder / "model.keras", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(12 * 1024**2))
    assert "would unpack to 12582912 bytes" in refused(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "metadata.json"])
def test_entry_that_is_no_json(folder: Path, name: str, content: bytes) -> None:
    lips.write_archive(folder / "model.keras", lips.entries() | {name: content})
    assert name in refused(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not an HDF5 file"),
        (b"\x80\x04pickle" + bytes(200), "is not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n", "its HDF5 header is not one"),
        (b"\x89HDF\r\n\x1a\n\x09" + bytes(200), "its HDF5 header is not one"),
        (b"\x89HDF\r\n\x1a\n" + bytes(200), "its HDF5 addresses are not of 8 bytes"),
    ],
)
def test_weights_that_are_none(folder: Path, content: bytes, reason: str) -> None:
    lips.write_archive(folder / "model.keras", lips.entries() | {"model.weights.h5": content})
    assert reason in refused(folder)
    (folder / "model.keras").unlink()
    (folder / "model.h5").write_bytes(content)
    assert reason in refused(folder)


def test_weights_that_were_cut_short(folder: Path) -> None:
    (folder / "model.keras").unlink()
    (folder / "model.h5").write_bytes(lips.hdf5())
    assert inspect(folder).vocabulary_size == 4
    (folder / "model.h5").write_bytes(lips.hdf5()[:-1])
    assert "it should have 256 bytes and has 255" in refused(folder)


def test_weights_whose_bytes_changed(folder: Path) -> None:
    path = folder / "model.keras"
    content = bytearray(path.read_bytes())
    content[content.index(b"\x89HDF") + 100] ^= 1
    path.write_bytes(content)
    assert "Bad CRC-32" in refused(folder)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(lips.write_bare(tmp_path_factory.mktemp("source") / "bare"))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cut_of_the_archive_is_refused(scratch: Path, data: Any) -> None:
    lips.write_archive(scratch / "model.keras", lips.entries())
    whole = (scratch / "model.keras").read_bytes()
    (scratch / "model.keras").write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert "is damaged or no .keras archive" in refused(scratch)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_changed_bytes_never_raise_anything_else(scratch: Path, data: Any) -> None:
    lips.write_archive(scratch / "model.keras", lips.entries())
    whole = bytearray((scratch / "model.keras").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (scratch / "model.keras").write_bytes(whole)
    try:
        inspect(scratch)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
