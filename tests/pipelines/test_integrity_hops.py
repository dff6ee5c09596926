"""A byte that is flipped at any hop of a model's way is refused at the next one.

(After the way through MLflow: `tests/registry/test_tracking.py`, with a real MLflow.)
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from canary.ports import RevisionState, RevisionStatus
from infra.local.admission import check_admission
from model_repository import publishing
from model_repository.publishing import verify_release
from registry.errors import IntegrityError
from registry.hash_memory import HashMemory
from registry.hashing import hash_plain
from registry.signature import VerifyingKey

from .scrub_world import MODEL, ScrubWorld, damage

if TYPE_CHECKING:
    from pathlib import Path

    from model_repository.layout import ReleaseLayout
    from registry.hashing import Hashed, OnBytes


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> ScrubWorld:
    return ScrubWorld.made(tmp_path_factory.mktemp("hops") / "template")


@pytest.fixture
def world(template: ScrubWorld, tmp_path: Path) -> ScrubWorld:
    return template.copied_to(tmp_path / "workspace")


def admitted(world: ScrubWorld, release: int) -> tuple[bool, str]:
    status = RevisionStatus(RevisionState.ABSENT)
    admission = check_admission(world.workspace, MODEL, release, status, None)
    _, passed, detail = admission.checks[0]
    return passed, detail


def test_after_registering(world: ScrubWorld, tmp_path: Path) -> None:
    damage(world.blob(world.artifact, "model.bin"), at=1000)
    with pytest.raises(IntegrityError, match=r"model\.bin were changed on disk"):
        world.store.checkout(world.artifact, tmp_path / "for-conversion")
    assert not (tmp_path / "for-conversion").exists()


def test_after_conversion(world: ScrubWorld, tmp_path: Path) -> None:
    damage(world.blob(world.variant, "decoder.onnx"), at=1000)
    with pytest.raises(IntegrityError, match=r"decoder\.onnx were changed on disk"):
        world.store.checkout(world.variant, tmp_path / "for-publishing")


def test_while_publishing(world: ScrubWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the hash that is signed and the folder that serves: the release is read back."""
    real = publishing._move_in

    def meddle(built: ReleaseLayout, target: ReleaseLayout) -> None:
        real(built, target)
        damage(target.folder / "variant" / "decoder.onnx", at=1000)

    monkeypatch.setattr(publishing, "_move_in", meddle)
    memory = HashMemory.of_workspace(world.workspace)
    with pytest.raises(IntegrityError, match=r"decoder\.onnx is not the file"):
        publishing.publish(
            world.workspace,
            MODEL,
            5,
            kind="whisper",
            variant_folder=world.root / "variant",
            golden=world.golden,
            batching=publishing.Batching(),
            provenance={"artifact": "a" * 64},
            signing_key=world.platform.signing_key,
            memory=memory,
        )


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize("name", ["variant/decoder.onnx", "model.py", "golden.json"])
def test_at_admission(world: ScrubWorld, name: str, *, remembered: bool) -> None:
    if remembered:
        for _ in range(2):
            assert admitted(world, 1)[0]
    damage(world.layout(1).folder / name)
    passed, detail = admitted(world, 1)
    assert not passed
    assert f"{name} is not the file that was recorded" in detail


def test_admission_does_not_read_again_what_nobody_touched(
    world: ScrubWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    time.sleep(0.15)  # files this young are not remembered
    assert admitted(world, 1)[0]
    read: list[Path] = []

    def counted(path: Path, on_bytes: OnBytes | None = None) -> Hashed:
        read.append(path)
        return hash_plain(path, on_bytes)

    monkeypatch.setattr("registry.manifest.hash_plain", counted)
    assert admitted(world, 1)[0]
    assert read == []
    workspace = world.workspace
    key = VerifyingKey.load(workspace.keys)
    found = verify_release(workspace.repository, workspace.releases, MODEL, 1, key)
    assert len(read) == len(found.files)
