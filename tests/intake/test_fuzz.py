"""Readers on changed files: an answer or a UserError, soon, and never another exception.

`SLUICE_FUZZ_EXAMPLES` asks for more examples than a test run has time for.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import tracemalloc
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import UserError
from registry.intake import formats
from registry.intake.archives import unpack
from registry.intake.gatekeeper import examine
from registry.intake.paths import Spellings, path_fault
from registry.intake.pickles import is_pickle
from registry.intake.signatures import foreign
from registry.intake.source import Source

from .attacks_archives import tarred
from .builders import (
    hdf5,
    keras_entries,
    onnx,
    openvino_xml,
    pickled,
    safetensors,
    sentencepiece,
    tensor,
    write,
    zipped,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = int(os.environ.get("SLUICE_FUZZ_EXAMPLES", "40"))
LONGEST_MS = 5000
MOST_MEMORY = 64 * 1024**2
FILES = {
    "model.safetensors": safetensors(),
    "model.onnx": onnx(weights=(tensor("w", (3,)), tensor("x", (3,), {"location": "a.data"}))),
    "model.xml": openvino_xml().encode(),
    "model.keras": zipped(keras_entries(), zipfile.ZIP_DEFLATED),
    "plain.h5": hdf5("plain"),
    "latest.h5": hdf5("latest"),
    "keras2.h5": hdf5("keras2"),
    "virtual.h5": hdf5("virtual"),
    "tokenizer.model": sentencepiece("<unk>", "a", "b"),
    "tokenizer.json": b'{"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 1}]}',
    "vocab.txt": b"a\nb\n",
}
ARCHIVES = {
    "model.zip": zipped({"m/config.json": b"{}", "m/a.txt": b"a" * 99}, zipfile.ZIP_DEFLATED),
    "model.tar": tarred(("m/a.txt", b"a")),
    "model.tar.gz": gzip.compress(tarred(("m/a.txt", b"a"))),
}
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "insert", "repeat", "large"]),
        st.integers(0, 1 << 16),
        st.binary(min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=6,
)


def changed(content: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    """`content` after some changes of bytes, of lengths and of numbers."""
    for what, where, data in changes:
        at = where % (len(content) + 1)
        if what == "set":
            content = content[:at] + data + content[at + len(data) :]
        elif what == "cut":
            content = content[:at] + content[at + len(data) * 7 :]
        elif what == "insert":
            content = content[:at] + data + content[at:]
        elif what == "repeat":
            content = content[:at] + content[max(0, at - 64) : at] * len(data) + content[at:]
        else:
            content = content[:at] + b"\xff" * 8 + content[at + 8 :]
    return content


@contextmanager
def source(name: str, content: bytes) -> Iterator[Source]:
    """A file in memory."""
    descriptor = os.memfd_create("incoming")
    try:
        os.write(descriptor, content)
        yield Source(descriptor, len(content), name, name)
    finally:
        os.close(descriptor)


def read(name: str, content: bytes) -> None:
    """Every reader's way through one file."""
    reader = formats.reader_of(name)
    assert reader is not None
    with source(name, content) as file:
        foreign(file, zip_is_welcome=name.endswith(".keras"))
        with suppress(UserError):
            reader(file)


@pytest.mark.parametrize("name", FILES)
def test_the_seed_is_sound(name: str) -> None:
    reader = formats.reader_of(name)
    assert reader is not None
    with source(name, FILES[name]) as file:
        if name == "virtual.h5":
            with pytest.raises(UserError, match="virtual"):
                reader(file)
        else:
            assert reader(file).format


@pytest.mark.parametrize("name", FILES)
def test_changed_files_are_read_or_refused(name: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=LONGEST_MS)
    @given(CHANGES)
    def check(changes: list[tuple[str, int, bytes]]) -> None:
        read(name, changed(FILES[name], changes))

    check()


@pytest.mark.parametrize("name", FILES)
def test_no_bytes_raise_anything_else(name: str) -> None:
    @settings(max_examples=EXAMPLES // 2, deadline=LONGEST_MS)
    @given(st.binary(max_size=300))
    def check(content: bytes) -> None:
        read(name, content)
        read(name, FILES[name][:8] + content)

    check()


@pytest.mark.parametrize("name", ARCHIVES)
def test_changed_archives_are_unpacked_inside_or_refused(name: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=LONGEST_MS)
    @given(CHANGES)
    def check(changes: list[tuple[str, int, bytes]]) -> None:
        with tempfile.TemporaryDirectory() as work:
            root = Path(work)
            archive = write(root / "in", {name: changed(ARCHIVES[name], changes)}) / name
            target = root / "out" / "unpacked"
            target.mkdir(parents=True)
            with suppress(UserError):
                examine(unpack(archive, target))
            assert [path.name for path in root.iterdir() if path.name != "in"] == ["out"]
            assert [path.name for path in (root / "out").iterdir()] == ["unpacked"]
            assert not any(path.is_symlink() for path in target.rglob("*"))

    check()


@settings(max_examples=EXAMPLES * 4, deadline=LONGEST_MS)
@given(st.binary(max_size=80), st.booleans())
def test_no_bytes_trouble_the_pickle_reader(content: bytes, is_whole: bool) -> None:
    assert is_pickle(content, is_whole=is_whole) in {True, False}
    assert is_pickle(pickled(Path("x"), 4) + content)


@settings(max_examples=EXAMPLES * 4, deadline=LONGEST_MS)
@given(st.text(max_size=40))
def test_a_path_that_passes_stays_inside(path: str) -> None:
    if path_fault(path):
        return
    inside = os.path.normpath(os.path.join("/folder", path))  # noqa: PTH118 - as systems do
    assert inside == f"/folder/{path}"
    assert path.isprintable()


@settings(max_examples=EXAMPLES * 4, deadline=LONGEST_MS)
@given(st.lists(st.text("aAbB/", min_size=1, max_size=5), max_size=8))
def test_paths_that_pass_together_are_as_many_files_anywhere(paths: list[str]) -> None:
    spellings = Spellings()
    kept = [path for path in paths if not path_fault(path) and not spellings.fault(path)]
    assert len({path.casefold() for path in kept}) == len(kept)
    folders = {str(parent) for path in kept for parent in Path(path.casefold()).parents}
    assert not folders & {path.casefold() for path in kept}


def _headers() -> dict[str, Any]:
    deep = b"\x3a\x7f" * 1000
    return {
        "model.safetensors": (1 << 26).to_bytes(8, "little") + b"[" * 4096,
        "model.onnx": deep,
        "plain.h5": hdf5("plain").replace(b"TREE\0\0", b"TREE\0\xff"),
        "tokenizer.json": b'{"a":' * 5000,
        "model.xml": b"<net version='11'>" + b"<a>" * 10_000,
        "model.keras": zipped({"config.json": b"[" * 100_000}, zipfile.ZIP_DEFLATED),
    }


@pytest.mark.parametrize("name", _headers())
def test_lies_about_sizes_take_no_memory(name: str) -> None:
    content = _headers()[name]
    tracemalloc.start()
    try:
        read(name, content)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
