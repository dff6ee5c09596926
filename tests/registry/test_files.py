from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import PermanentEngineError, SluiceError
from registry.files import canonical_json, create_once, make_folder, staged_folder, write_atomic
from registry.scratch import scratch_folder

from .conftest import as_nobody

if TYPE_CHECKING:
    from pathlib import Path

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abé"), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_canonical_json_is_json_and_does_not_depend_on_order(value: Any) -> None:
    content = canonical_json(value)
    assert json.loads(content) == value
    assert canonical_json(_reversed(value)) == content
    assert canonical_json(json.loads(content)) == content


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": -math.inf}, "\ud800"])
def test_what_json_does_not_have_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"not JSON compliant|surrogates"):
        canonical_json(value)


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    write_atomic(path, b"a longer first version")
    write_atomic(path, b"second", mode=0o600)
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_readers_see_the_old_bytes_or_the_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "file"
    versions = [bytes([letter]) * 100_000 for letter in b"ab"]
    write_atomic(path, versions[0])

    def write(number: int) -> None:
        write_atomic(path, versions[number % 2])

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: list(map(write, range(50))))
        while not writing.done():
            assert path.read_bytes() in versions
        writing.result()


def test_a_refused_write_leaves_what_was_there(tmp_path: Path, open_folder: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inner").touch()
    for act in (
        lambda: write_atomic(tmp_path / "taken", b""),
        lambda: write_atomic(tmp_path / "taken" / "inner" / "file", b""),
        lambda: create_once(tmp_path / ("x" * 300), b""),
    ):
        with pytest.raises(PermanentEngineError, match="cannot write: ") as caught:
            act()
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "inner"]
    with as_nobody(), pytest.raises(PermanentEngineError, match="Permission denied"):
        write_atomic(open_folder / "file", b"")


def test_only_one_of_many_creates_a_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda n: create_once(path, bytes([n])), range(8)))
    assert created.count(True) == 1
    assert path.read_bytes() == bytes([created.index(True)])
    assert list(path.parent.iterdir()) == [path]


def test_threads_may_make_one_folder(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make_folder, [deep] * 8))
    assert deep.is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file" / "a")


def test_a_staged_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    staging, target = tmp_path / "staging", tmp_path / "deep" / "target"
    with staged_folder(staging, target) as staged:
        (staged / "file").write_text("whole")
        assert not target.exists()
    assert (target / "file").read_text() == "whole"
    with pytest.raises(PermanentEngineError), staged_folder(staging, tmp_path / "other") as staged:
        (staged / "absent").read_bytes()
    with (
        pytest.raises(PermanentEngineError, match="Directory not empty"),
        staged_folder(staging, target) as staged,
    ):
        (staged / "file").write_text("other")
    assert (target / "file").read_text() == "whole"
    assert not (tmp_path / "other").exists()
    assert not list(staging.iterdir())


def test_scratch_of_the_dead_is_swept_and_of_the_living_kept(tmp_path: Path) -> None:
    (tmp_path / "left" / "behind").mkdir(parents=True)
    with scratch_folder(tmp_path) as first:
        assert list(tmp_path.iterdir()) == [first]
        with scratch_folder(tmp_path) as second:
            assert sorted(tmp_path.iterdir()) == sorted([first, second])
        assert list(tmp_path.iterdir()) == [first]
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_one_line() -> None:
    error = SluiceError("went\nwrong", where="here", remedy="do\n  this")
    assert str(error) == "here: went wrong; do this"
    assert str(SluiceError("went wrong")) == "went wrong"
