"""No byte reaches Triton's folder in a pod that the workspace's key did not sign."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from infra.kubernetes import fetch_release
from infra.kubernetes.names import REFUSED
from infra.kubernetes.release_source import upload
from model_repository.layout import ReleaseLayout
from model_repository.publishing import verify_release
from registry.errors import IntegrityError, RetryableEngineError
from registry.signature import SigningKey, VerifyingKey

from ..infra.toys import make_workspace, publish
from ..object_store import create_bucket, object_store, use_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry.workspace import Workspace

MODEL = "speech"


class Pod:
    """The folders of one pod, and its init container's arguments."""

    def __init__(self, root: Path, workspace: Workspace) -> None:
        self.workspace = workspace
        self.source = root / "source"
        shutil.copytree(workspace.repository, self.source)
        self.trust, self.repository = root / "trust", root / "repository"
        self.said = root / "said"
        self.trust.mkdir()
        self.repository.mkdir()
        shutil.copy(workspace.keys / "root.json", self.trust)
        shutil.copy(workspace.releases / MODEL / "1.json", self.trust / "record.json")
        key = VerifyingKey.load(workspace.keys)
        self.digest = verify_release(workspace.repository, workspace.releases, MODEL, 1, key).digest

    def run(self, *, digest: str = "", release: int = 1, source: str = "") -> tuple[int, str]:
        status = fetch_release.main(
            [
                f"--source={source or self.source}",
                f"--model={MODEL}",
                f"--release={release}",
                f"--digest={digest or self.digest}",
                f"--trust={self.trust}",
                f"--target={self.repository}",
                f"--tell={self.said}",
            ]
        )
        return status, self.said.read_text()

    def files(self) -> set[str]:
        found = self.repository.rglob("*")
        return {str(one.relative_to(self.repository)) for one in found if one.is_file()}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = make_workspace(tmp_path_factory.mktemp("fetch"))
    publish(made, MODEL, 1)
    publish(made, MODEL, 2)
    return made


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of an S3 with an empty bucket `releases`."""
    with object_store() as address:
        create_bucket(address, "releases")
        yield address


@pytest.fixture
def bucket(store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a folder in the bucket, which this process may write."""
    use_store(monkeypatch, store)
    return f"s3://releases/{time.time_ns()}"


@pytest.fixture
def pod(tmp_path: Path, workspace: Workspace) -> Pod:
    return Pod(tmp_path, workspace)


def test_a_signed_release_is_brought_alone_and_its_digest_told(pod: Pod) -> None:
    status, said = pod.run()
    assert status == 0
    assert json.loads(said)["digest"] == pod.digest
    assert f"{MODEL}/1/model.py" in pod.files()
    assert not any(f"{MODEL}/2/" in name for name in pod.files())
    assert pod.run()[0] == 0, "a restarted container begins anew"


def test_another_byte_is_refused_and_nothing_is_left(pod: Pod) -> None:
    path = pod.source / MODEL / "1/model.py"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")
    status, said = pod.run()
    assert status == REFUSED
    assert "model.py" in said
    assert "\n" not in said
    assert not pod.files()


def test_a_record_of_another_key_is_refused(pod: Pod, tmp_path: Path) -> None:
    SigningKey.load_or_create(tmp_path / "strange")
    shutil.copy(tmp_path / "strange/root.json", pod.trust)
    status, said = pod.run()
    assert (status, pod.files()) == (REFUSED, set())
    assert "signature is not this workspace's" in said


def test_another_release_than_the_one_asked_for_is_refused(pod: Pod) -> None:
    assert pod.run(release=2)[0] == REFUSED
    status, said = pod.run(digest="0" * 64)
    assert status == REFUSED
    assert "asked for is 000000000000" in said


def test_a_source_without_the_files_is_asked_again(pod: Pod) -> None:
    shutil.rmtree(pod.source / MODEL / "1")
    status, said = pod.run()
    assert (status, pod.files()) == (2, set())
    assert "cannot be copied" in said


def test_a_bucket_is_filled_once_and_read_by_the_pod(pod: Pod, bucket: str) -> None:
    with pytest.raises(RetryableEngineError, match="there is no bucket"):
        upload(pod.workspace, "s3://no-such-bucket/x", MODEL, 1)
    upload(pod.workspace, bucket, MODEL, 1)
    upload(pod.workspace, bucket, MODEL, 1)
    assert pod.run(source=bucket)[0] == 0
    layout = ReleaseLayout(pod.repository, MODEL, 1)
    assert layout.golden.read_bytes() == (pod.source / MODEL / "1/golden.json").read_bytes()


def test_only_what_was_signed_is_brought_to_a_bucket(tmp_path: Path, bucket: str) -> None:
    workspace = make_workspace(tmp_path / "other")
    folder = publish(workspace, MODEL, 1)
    (folder / "model.py").write_text("other")
    with pytest.raises(IntegrityError):
        upload(workspace, bucket, MODEL, 1)
