"""Artifacts in a shared folder and in a bucket: the same in both, and what failing means."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow.fs import FileSystem

from infra.bucket_place import BucketPlace, GcsPlace, open_blobs
from pipelines.assembly import Platform
from registry.blob_places import FolderPlace
from registry.errors import IntegrityError, RetryableEngineError, UserError
from registry.manifest import Manifest
from registry.remote_store import RemoteStore
from registry.workspace import Workspace

from .test_s3_place import AWAY, environment, store  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry.blob_places import BlobPlace

FILES = {"weights.bin": bytes(range(256)) * 40_000, "sub/b.txt": b"b", "same.txt": b"b", "no": b""}


GOOGLE = "SLUICE_TEST_GCS"
"""HOST:PORT of an emulator with a bucket `speech`: gcp-storage-emulator start --in-memory
--default-bucket speech, from PyPI."""


@pytest.fixture(params=["folder", "bucket", "google"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "folder":
        return FolderPlace(tmp_path / "shared")
    if request.param == "google":
        if GOOGLE not in os.environ:
            pytest.skip(f"{GOOGLE} names no emulator of Google Cloud Storage")
        monkeypatch.setattr(GcsPlace, "_connect", emulated)
        return GcsPlace(f"gs://speech/store-{time.time_ns()}")
    request.getfixturevalue("environment")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", request.getfixturevalue("store"))
    return BucketPlace(f"s3://speech/store-{time.time_ns()}")


def emulated(_: GcsPlace) -> Any:
    """The emulator asks for no credentials."""
    from pyarrow.fs import GcsFileSystem

    return GcsFileSystem(
        anonymous=True,
        scheme="http",
        endpoint_override=os.environ[GOOGLE],
        retry_time_limit=timedelta(seconds=10),
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "tree"


def overwrite(place: BlobPlace, path: str, content: bytes) -> None:
    """What somebody does who may write the place."""
    if isinstance(place, FolderPlace):
        (place.root / path).unlink()
        (place.root / path).write_bytes(content)
    elif isinstance(place, BucketPlace):
        place.write(path, content)


def blob_of(manifest: Manifest, name: str) -> str:
    sha256 = manifest.by_path[name].sha256
    return f"blobs/{sha256[:2]}/{sha256}"


def manifest_of(digest: str) -> str:
    return f"manifests/{digest[:2]}/{digest}.json"


def test_a_place_keeps_files(place: BlobPlace, tmp_path: Path) -> None:
    source = tmp_path / "file"
    for content in (b"", b"12", b"x" * 9_000_000):
        source.write_bytes(content)
        place.put(source, "a/b")
        assert place.size("a/b") == len(content)
        assert b"".join(place.blocks("a/b")) == content
    assert place.size("a/c") is None
    assert place.size("a/b/c") is None
    with pytest.raises(FileNotFoundError):
        next(iter(place.blocks("a/c")))


def test_another_machine_gets_what_one_added(place: BlobPlace, tree: Path, tmp_path: Path) -> None:
    manifest = RemoteStore(tmp_path / "one", place).add(tree)
    other = RemoteStore(tmp_path / "two", place)
    assert other.has(manifest.digest)
    assert not other.has("0" * 64)
    assert other.read(manifest.digest, "sub/b.txt") == b"b"
    assert not other.blob_path(manifest.by_path["weights.bin"].sha256).exists()
    assert other.checkout(manifest.digest, tmp_path / "out") == Manifest.of_folder(tree)
    other.verify(manifest.digest)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "two").rglob("*/*/*")} == {0o444}
    with pytest.raises(IntegrityError, match="the store has no"):
        other.manifest("0" * 64)


def test_only_what_is_missing_is_moved(place: BlobPlace, tree: Path, tmp_path: Path) -> None:
    puts: list[str] = []

    class Counting:
        name, size, blocks = place.name, staticmethod(place.size), staticmethod(place.blocks)

        def put(self, source: Path, path: str) -> None:
            puts.append(path)
            place.put(source, path)
            if len(puts) == 2:
                raise OSError("the line went dead")

    one = RemoteStore(tmp_path / "one", Counting())
    with pytest.raises(RetryableEngineError, match="the line went dead; nothing is lost"):
        one.add(tree)
    assert not RemoteStore(tmp_path / "two", place).has(Manifest.of_folder(tree).digest)
    manifest = one.add(tree)
    assert len(puts) == len(set(puts)) == 4
    assert puts[-1] == manifest_of(manifest.digest), "the manifest comes last"
    one.add(tree)
    assert len(puts) == 4
    RemoteStore(tmp_path / "two", place).checkout(manifest.digest, tmp_path / "out")


@pytest.mark.parametrize("what", ["weights.bin", "manifest"])
def test_other_bytes_are_refused_and_never_kept(
    place: BlobPlace, tree: Path, tmp_path: Path, what: str
) -> None:
    manifest = RemoteStore(tmp_path / "one", place).add(tree)
    path = manifest_of(manifest.digest) if what == "manifest" else blob_of(manifest, what)
    overwrite(place, path, b"x" * (place.size(path) or 0))
    two = RemoteStore(tmp_path / "two", place)
    with pytest.raises(IntegrityError, match="are not those that were recorded") as caught:
        two.checkout(manifest.digest, tmp_path / "out")
    assert f"{place.name}/{path}" in str(caught.value)
    assert not (tmp_path / "out").exists()
    left = [one for one in (tmp_path / "two").rglob("*") if one.is_file()]
    assert all(one.name != Path(path).name for one in left)
    assert not [one for one in left if one.name.startswith(".")]


def test_an_object_that_was_cut_off_is_sent_again(
    place: BlobPlace, tree: Path, tmp_path: Path
) -> None:
    one = RemoteStore(tmp_path / "one", place)
    manifest = one.add(tree)
    overwrite(place, blob_of(manifest, "weights.bin"), b"x")
    one.push(manifest)
    RemoteStore(tmp_path / "two", place).checkout(manifest.digest, tmp_path / "out")


@pytest.mark.usefixtures("environment")
def test_a_bucket_that_is_away_is_one_line(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", AWAY)
    away = RemoteStore(tmp_path / "one", BucketPlace("s3://speech/store"))
    calls: tuple[Callable[[], object], ...] = (
        lambda: away.add(tree),
        lambda: away.has("0" * 64),
        lambda: away.manifest("0" * 64),
    )
    for call in calls:
        with pytest.raises(RetryableEngineError, match=r"^s3://speech/store: .*run the command"):
            call()
    # What is here serves on.
    digest = Manifest.of_folder(tree).digest
    assert away.has(digest)
    away.checkout(digest, tmp_path / "out")


@pytest.mark.parametrize("address", ["s3:/x", "relative/folder", "gs://x", "s3://", "s3://a/../b"])
def test_what_is_no_place_is_refused(address: str) -> None:
    with pytest.raises(UserError):
        open_blobs(address)


def test_a_bucket_of_google_is_a_place_too() -> None:
    place = open_blobs("gs://speech/releases")
    assert isinstance(place, GcsPlace)
    assert place.name == "gs://speech/releases"
    with pytest.raises(UserError, match="write gs://bucket"):
        GcsPlace("s3://speech/releases")


def test_an_upload_that_ended_early_leaves_no_object(
    place: BlobPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isinstance(place, BucketPlace):
        pytest.skip("a folder's file is renamed when it is whole")
    source = tmp_path / "file"
    source.write_bytes(b"x" * 100)
    real = Path.stat
    longer = os.stat_result((*real(source)[:6], 200, *real(source)[7:]))
    monkeypatch.setattr(
        Path, "stat", lambda self, **n: longer if self == source else real(self, **n)
    )
    with pytest.raises(OSError, match="did not arrive whole"):
        place.put(source, "half")
    assert place.size("half") is None
    assert isinstance(place._client, FileSystem)


def test_workspaces_that_name_one_place_share_their_artifacts(tree: Path, tmp_path: Path) -> None:
    platforms = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        text = f'[store]\nartifacts = "{tmp_path / "shared"}"\n'
        (tmp_path / name / "sluice.toml").write_text(text)
        platforms.append(Platform(Workspace(tmp_path / name)))
    digest = platforms[0].store.add(tree).digest
    assert platforms[1].store.has(digest)
    platforms[1].store.checkout(digest, tmp_path / "out")
    assert platforms[0].workspace.settings.store.artifacts == str(tmp_path / "shared")
    (tmp_path / "one" / "sluice.toml").write_text('[store]\nrepository = "gs://x"\n')
    with pytest.raises(UserError, match="repository"):
        _ = Workspace(tmp_path / "one").settings
