"""A lip-reader's folder before anything opens it: its files and its vocabulary."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.conversion.lip_reading.kind import KIND
from pipelines.conversion.lip_reading.source import ALLOWED, facts, inspect
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


def test_facts_come_from_the_file_itself(folder: Path) -> None:
    found = inspect(folder)
    assert (found.frames, found.rows, found.columns, found.window_s) == (75, 46, 140, 3.0)
    assert (found.vocabulary_size, found.blank) == (4, 3)
    assert KIND.inspect(folder) == facts(folder)
    assert all(isinstance(value, int | float) for value in facts(folder).values())


def test_the_example_is_accepted() -> None:
    assert inspect(lips.MODEL).vocabulary_size == 45


def test_known_extra_files_are_accepted(folder: Path) -> None:
    for name in set(ALLOWED) - {"model.h5", "model.keras", "vocabulary.json"}:
        (folder / name).write_text("text")
    inspect(folder)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("model.pkl", "may hold a pickle"),
        ("weights.npz", "may hold a pickle"),
        ("pytorch_model.bin", "may hold a pickle"),
        ("config.json", "another kind of model"),
        ("model.safetensors", "another kind of model"),
        ("saved_model.pb", "another kind of model"),
        ("layers.py", "may hold code"),
        ("notes.txt", "no part of the conversion reads"),
        (".hidden", "no part of the conversion reads"),
        ("MODEL.KERAS", "no part of the conversion reads"),
        ("model.h5", "holds both"),
    ],
)
def test_file_that_should_not_be_there(folder: Path, name: str, reason: str) -> None:
    (folder / name).write_bytes(b"x")
    assert reason in refused(folder)


@pytest.mark.parametrize("name", ["model.keras", "vocabulary.json"])
def test_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{name} is missing" in refused(folder)


@pytest.mark.parametrize("name", ["model.keras", "vocabulary.json", "README.md"])
def test_links_are_refused(folder: Path, name: str, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    if (folder / name).exists():
        (folder / name).rename(target)
    else:
        target.write_text("text")
    (folder / name).symlink_to(target)
    assert "is a link" in refused(folder)
    (folder / name).unlink()
    (folder / name).hardlink_to(target)
    assert "is a link" in refused(folder)


def test_folders_pipes_and_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "assets").mkdir()
    assert "is a folder" in refused(folder)
    (folder / "assets").rmdir()
    os.mkfifo(folder / "README.md")
    assert "is not a plain file" in refused(folder)
    assert "no such folder" in refused(tmp_path / "absent")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"tokens": None}, "no list of texts under tokens"),
        ({"tokens": "abcd"}, "no list of texts under tokens"),
        ({"tokens": ["a", "b", 3, "d"]}, "no list of texts under tokens"),
        ({"tokens": ["a", "b", "b", "d"]}, "has the token 'b' twice"),
        ({"tokens": ["a", "b", "c", "d", "e"]}, "has 5 tokens, the last layer has 4 outputs"),
        ({"blank": 4}, "blank is 4"),
        ({"blank": -1}, "blank is -1"),
        ({"blank": True}, "blank is True"),
        ({"blank": "3"}, "blank is '3'"),
        ({"blank": None}, "blank is None"),
        ({"word_delimiter": 1}, "word_delimiter is 1"),
        ({"merges": []}, "a key 'merges' that nothing reads"),
    ],
)
def test_vocabulary_of_another_network(folder: Path, values: dict[str, Any], reason: str) -> None:
    (folder / "vocabulary.json").write_text(json.dumps(lips.VOCABULARY | values))
    message = refused(folder)
    assert reason in message
    assert "vocabulary.json" in message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_vocabulary_that_is_no_json(folder: Path, content: bytes) -> None:
    (folder / "vocabulary.json").write_bytes(content)
    assert "vocabulary.json" in refused(folder)
