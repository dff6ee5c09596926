"""A release that goes to a place and comes back elsewhere is what was signed, or is refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from infra.bucket_place import BucketPlace
from model_repository.bucket_release import check_copy, fetch_release, keep_release
from model_repository.config import Batching
from model_repository.golden import GoldenSet
from model_repository.publishing import publish, verify_release
from registry.blob_places import FolderPlace
from registry.errors import IntegrityError, RetryableEngineError
from registry.signature import SigningKey
from registry.workspace import Workspace
from tests.infra.test_s3_place import AWAY, environment, store  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from pathlib import Path

    from model_repository.publishing import PublishedRelease
    from registry.manifest import Manifest

RECORD = "releases/grid/3.json"


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


@pytest.fixture
def away(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "away")


@pytest.fixture
def key(home: Workspace) -> SigningKey:
    return SigningKey.load_or_create(home.keys)


@pytest.fixture
def release(home: Workspace, key: SigningKey, variant_folder: Path) -> PublishedRelease:
    return publish(
        home,
        "grid",
        3,
        kind="whisper",
        variant_folder=variant_folder,
        golden=GoldenSet(()),
        batching=Batching(),
        provenance={"artifact": "a" * 64},
        signing_key=key,
    )


@pytest.fixture
def place(tmp_path: Path) -> FolderPlace:
    return FolderPlace(tmp_path / "shared")


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_release_serves_elsewhere(  # noqa: PLR0917 - fixtures
    request: pytest.FixtureRequest,
    place: Any,
    home: Workspace,
    away: Workspace,
    key: SigningKey,
    release: PublishedRelease,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind == "bucket":
        request.getfixturevalue("environment")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", request.getfixturevalue("store"))
        place = BucketPlace(f"s3://speech/repository-{time.time_ns()}")
    trusted = key.verifying_key
    for _ in range(1 if kind == "bucket" else 2):
        assert keep_release(place, home, "grid", 3, key=trusted) == release.manifest
        assert fetch_release(place, "grid", 3, away, key=trusted) == release.manifest
    assert verify_release(away.repository, away.releases, "grid", 3, trusted) == release.manifest
    assert list(away.staging.iterdir()) == []


@pytest.mark.parametrize("what", ["config", "weights", "record", "no record", "gone", "signature"])
def test_what_was_changed_in_the_place_serves_nowhere(
    place: FolderPlace,
    home: Workspace,
    away: Workspace,
    key: SigningKey,
    release: PublishedRelease,
    tmp_path: Path,
    what: str,
) -> None:
    keep_release(place, home, "grid", 3, key=key.verifying_key)
    trusted = key.verifying_key
    if what == "signature":
        trusted = SigningKey.load_or_create(tmp_path / "others").verifying_key
    else:
        path = place.root / path_of(release.manifest, what)
        content = path.read_bytes()
        path.unlink()
        if what not in {"gone", "no record"}:
            path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    with pytest.raises(IntegrityError):
        fetch_release(place, "grid", 3, away, key=trusted)
    assert not away.repository.exists()
    assert not away.releases.exists()
    assert list(away.staging.iterdir()) == []


def path_of(manifest: Manifest, what: str) -> str:
    if "record" in what:
        return RECORD
    wanted = ".pbtxt" if what == "config" else "decoder.onnx"
    return "repository/" + next(path for path in manifest.by_path if path.endswith(wanted))


def test_a_damaged_copy_is_told_at_once_and_gets_no_record(
    place: FolderPlace, home: Workspace, key: SigningKey, release: PublishedRelease
) -> None:
    keep_release(place, home, "grid", 3, key=key.verifying_key)
    (place.root / RECORD).unlink()
    damaged = place.root / path_of(release.manifest, "weights")
    content = damaged.read_bytes()
    damaged.chmod(0o644)
    damaged.write_bytes(b"x" * len(content))
    with pytest.raises(IntegrityError, match="is not what was signed"):
        keep_release(place, home, "grid", 3, key=key.verifying_key)
    assert not (place.root / RECORD).exists()
    with pytest.raises(IntegrityError, match="delete that object and publish it again"):
        check_copy(place, release.manifest)


@pytest.mark.usefixtures("environment", "release")
def test_a_bucket_that_is_away_is_one_line(
    home: Workspace, away: Workspace, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", AWAY)
    place = BucketPlace("s3://speech/repository")
    with pytest.raises(RetryableEngineError, match=r"^s3://speech/repository: "):
        keep_release(place, home, "grid", 3, key=key.verifying_key)
    with pytest.raises(RetryableEngineError, match="run the command again"):
        fetch_release(place, "grid", 3, away, key=key.verifying_key)
    assert not away.releases.exists()
