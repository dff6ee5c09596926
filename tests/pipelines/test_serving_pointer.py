from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from pipelines.assembly import Platform
from pipelines.serving_pointer import (
    LIFE_S,
    SIGNED,
    check_pointer,
    keep_fresh,
    point_to,
    pointer_file,
)
from registry.errors import IntegrityError, UserError
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry.pointer import Pointer

MODEL, NOW = "speech", 1_000_000.0


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    (tmp_path / "sluice.toml").write_text("")
    platform = Platform(Workspace(tmp_path), actor="ann")
    # Keys are dated by the clock on the wall, pointers by the one that is handed in.
    for release in (1, 2):
        body = {
            "release": release,
            "variant_digest": f"{release}" * 64,
            "artifact": "a" * 64,
            "variant": "onnx-int8",
            "report_digest": "b" * 64,
            "manifest_digest": f"{release + 4}" * 64,
        }
        platform.append(MODEL, "release-published", body)
    yield platform
    platform.journal.close()


def check(platform: Platform, live: int, now: float = NOW) -> Pointer:
    entries = platform.journal.read(MODEL)
    key = platform.signing_key.verifying_key
    return check_pointer(platform.workspace, MODEL, entries, key, live, now=now)


def signed(platform: Platform) -> list[int]:
    return [e.body["release"] for e in platform.journal.read(MODEL) if e.kind == SIGNED]


def test_a_way_back_is_a_new_pointer_to_an_old_release(platform: Platform) -> None:
    found = [point_to(platform, MODEL, release, now=NOW) for release in (1, 2, 1)]
    assert [pointer.sequence for pointer in found] == [1, 2, 3]
    assert [pointer.manifest_digest[0] for pointer in found] == ["5", "6", "5"]
    assert check(platform, live=1) == found[-1]
    platform.journal.verify(MODEL)


def test_the_same_again_signs_nothing_and_heals_the_file(platform: Platform) -> None:
    first = point_to(platform, MODEL, 1, now=NOW)
    pointer_file(platform.workspace, MODEL).unlink()
    with pytest.raises(IntegrityError, match="there is no serving pointer"):
        check(platform, live=1)
    assert point_to(platform, MODEL, 1, now=NOW + 60) == first
    assert check(platform, live=1) == first
    assert signed(platform) == [1]


def test_one_that_is_half_over_is_signed_anew(platform: Platform) -> None:
    point_to(platform, MODEL, 1, now=NOW)
    keep_fresh(platform, MODEL, now=NOW + 0.4 * LIFE_S)
    assert signed(platform) == [1]
    later = NOW + 0.6 * LIFE_S
    keep_fresh(platform, MODEL, now=later)
    keep_fresh(platform, "other", now=later)
    assert signed(platform) == [1, 1]
    assert check(platform, live=1, now=NOW + 1.2 * LIFE_S).sequence == 2
    with pytest.raises(IntegrityError, match="pointer 2 is over"):
        check(platform, live=1, now=later + LIFE_S)


def test_an_old_file_that_was_put_back_is_found(platform: Platform) -> None:
    point_to(platform, MODEL, 1, now=NOW)
    path = pointer_file(platform.workspace, MODEL)
    shutil.copy(path, path.with_suffix(".old"))
    point_to(platform, MODEL, 2, now=NOW)
    path.with_suffix(".old").replace(path)
    with pytest.raises(IntegrityError, match="pointer 1 is older than pointer 2"):
        check(platform, live=2)


def test_a_pointer_that_names_another_release_than_serves_is_found(platform: Platform) -> None:
    point_to(platform, MODEL, 1, now=NOW)
    with pytest.raises(IntegrityError, match="it names release 1, and release 2 serves"):
        check(platform, live=2)


def test_only_what_was_published_can_be_pointed_to(platform: Platform) -> None:
    with pytest.raises(UserError, match="no release 9"):
        point_to(platform, MODEL, 9, now=NOW)
    assert not signed(platform)
