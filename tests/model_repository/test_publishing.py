from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_repository import publishing
from model_repository.config import Batching
from model_repository.golden import GoldenRequest, GoldenSet
from model_repository.layout import ReleaseLayout
from model_repository.publishing import (
    PublishedRelease,
    build_private,
    program_digest,
    publish,
    verify_release,
)
from registry.errors import IntegrityError, PermanentEngineError, UserError
from registry.signature import SigningKey
from registry.workspace import Workspace

GOLDEN = GoldenSet((GoldenRequest("u1", np.zeros(10, np.float32), "bin blue", -0.1),))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def key(workspace: Workspace) -> SigningKey:
    return SigningKey.load_or_create(workspace.keys)


@pytest.fixture
def put(workspace: Workspace, key: SigningKey, variant_folder: Path) -> Any:
    def put(release: int = 3, **values: Any) -> PublishedRelease:
        arguments: dict[str, Any] = {
            "kind": "whisper",
            "variant_folder": variant_folder,
            "golden": GOLDEN,
            "batching": Batching(),
            "provenance": {"artifact": "a" * 64, "report_digest": "b" * 64},
            "signing_key": key,
        }
        return publish(workspace, "grid", release, **arguments | values)

    return put


@pytest.fixture
def verify(workspace: Workspace, key: SigningKey) -> Any:
    def verify(release: int = 3, model: str = "grid") -> Any:
        return verify_release(
            workspace.repository, workspace.releases, model, release, key.verifying_key
        )

    return verify


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_release_is_whole_signed_and_verified(put: Any, verify: Any, workspace: Workspace) -> None:
    published = put()
    assert verify() == published.manifest
    paths = {file.path for file in published.manifest.files}
    assert {
        "grid/configs/r3.pbtxt",
        "grid/3/model.py",
        "grid/3/serving/whisper/transcriber.py",
        "grid/3/serving/common/prediction_log.py",
        "grid/3/variant/decoder.onnx",
        "grid/3/release.json",
        "grid/3/golden.json",
    } <= paths
    # One manifest covers all that the server reads.
    assert paths == set(snapshot(workspace.repository))
    record = json.loads((workspace.releases / "grid" / "3.json").read_text())
    assert record["signature"] == published.signature
    assert record["record"]["provenance"]["artifact"] == "a" * 64


def test_release_says_what_it_is_made_of(put: Any) -> None:
    folder = put().layout.folder
    described = json.loads((folder / "release.json").read_text())
    assert (described["model"], described["release"], described["kind"]) == ("grid", 3, "whisper")
    assert described["recipe"]["variant"] == "onnx-int8"
    assert described["program"] == program_digest("whisper")
    assert GoldenSet.load(folder / "golden.json").to_json() == GOLDEN.to_json()


def test_nothing_but_releases_is_below_the_repository(put: Any, workspace: Workspace) -> None:
    put(3)
    put(12)
    names = sorted(path.name for path in (workspace.repository / "grid").iterdir())
    assert names == ["12", "3", "configs"]
    assert list(workspace.staging.iterdir()) == []
    assert (put(12).layout.config.read_text()).count("versions: 12") == 1


def test_publishing_again_changes_nothing(put: Any, verify: Any, workspace: Workspace) -> None:
    first = put()
    before = snapshot(workspace.state)
    folder_time = first.layout.folder.stat().st_mtime_ns
    again = put()
    assert again.manifest == first.manifest
    assert snapshot(workspace.state) == before
    assert first.layout.folder.stat().st_mtime_ns == folder_time
    verify()


@pytest.mark.parametrize(
    "values",
    [
        {"provenance": {"artifact": "c" * 64}},
        {"golden": GoldenSet(())},
        {"batching": Batching(threads=1)},
    ],
)
def test_number_taken_by_other_bytes_is_refused(
    put: Any, verify: Any, workspace: Workspace, values: dict[str, Any]
) -> None:
    put()
    before = snapshot(workspace.state)
    with pytest.raises(UserError, match="published already, with other bytes"):
        put(**values)
    assert snapshot(workspace.state) == before
    verify()


def test_changed_release_is_not_taken_for_the_same(put: Any) -> None:
    path = put().layout.folder / "variant" / "decoder.onnx"
    path.chmod(0o644)
    path.write_bytes(b"changed")
    with pytest.raises(UserError, match="other bytes"):
        put()


@pytest.mark.parametrize("lost", ["config", "record"])
def test_publishing_again_completes_what_a_crash_cut_short(
    put: Any, verify: Any, workspace: Workspace, lost: str
) -> None:
    layout = put().layout
    before = snapshot(workspace.state)
    layout.record(workspace.releases).unlink()
    if lost == "config":
        layout.config.unlink()
    with pytest.raises(IntegrityError, match="no signed record"):
        verify()
    put()
    verify()
    assert snapshot(workspace.state) == before


def test_failed_build_leaves_nothing(
    put: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model_repository.building.shutil.copyfile", full)
    with pytest.raises(PermanentEngineError, match="No space left on device"):
        put()
    assert not (workspace.repository / "grid").exists()
    assert list(workspace.staging.iterdir()) == []


def tamper_change(layout: ReleaseLayout) -> None:
    path = layout.folder / "serving" / "whisper" / "greedy.py"
    path.chmod(0o644)
    path.write_text("import os")


def tamper_extra(layout: ReleaseLayout) -> None:
    (layout.folder / "serving" / "extra.py").write_text("import os")


def tamper_missing(layout: ReleaseLayout) -> None:
    (layout.folder / "golden.json").unlink()


def tamper_config(layout: ReleaseLayout) -> None:
    text = layout.config.read_text().replace("versions: 3", "versions: 2")
    layout.config.chmod(0o644)
    layout.config.write_text(text)


def tamper_link(layout: ReleaseLayout) -> None:
    path = layout.folder / "variant" / "decoder.onnx"
    path.unlink()
    path.symlink_to("/etc/hostname")


def tamper_bytecode(layout: ReleaseLayout) -> None:
    (layout.folder / "__pycache__").unlink()
    (layout.folder / "__pycache__").mkdir()
    (layout.folder / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"evil")


def tamper_gone(layout: ReleaseLayout) -> None:
    shutil.rmtree(layout.folder)


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (tamper_change, "grid/3/serving/whisper/greedy.py is not the file that was recorded"),
        (tamper_extra, "grid/3/serving/extra.py is not in the manifest"),
        (tamper_missing, "grid/3/golden.json is missing"),
        (tamper_config, "grid/configs/r3.pbtxt is not the file that was recorded"),
        (tamper_link, "symbolic links are refused"),
        (tamper_bytecode, "grid/3/__pycache__ is missing"),
        (tamper_gone, "is not a folder"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_tampering_is_named(put: Any, verify: Any, tamper: Any, reason: str) -> None:
    tamper(put().layout)
    with pytest.raises(IntegrityError, match=reason.replace(".", r"\.")):
        verify()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content["record"].update(release=4), "signature"),
        (lambda content: content["record"]["manifest"]["files"].pop(), "signature"),
        (lambda content: content.update(signature="00"), "signature"),
        (lambda content: content.update(signature=None), "signature"),
        (lambda content: content.pop("record"), "no signed record"),
        (lambda content: content.update(record=[]), "no signed record"),
    ],
)
def test_forged_record_is_refused(
    put: Any, verify: Any, workspace: Workspace, change: Any, reason: str
) -> None:
    path = put().layout.record(workspace.releases)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=reason):
        verify()


def test_record_of_another_release_or_key_is_refused(
    put: Any, verify: Any, workspace: Workspace, tmp_path: Path
) -> None:
    put(3)
    put(4)
    releases = workspace.releases / "grid"
    shutil.copy(releases / "3.json", releases / "4.json")
    with pytest.raises(IntegrityError, match="the record is of grid release 3"):
        verify(4)
    put(4, signing_key=SigningKey.load_or_create(tmp_path / "other"))
    with pytest.raises(IntegrityError, match="signature"):
        verify(4)
    verify(3)


@pytest.mark.parametrize("release", [0, -1, 2**31])
def test_numbers_that_triton_would_misread_are_refused(put: Any, release: int) -> None:
    with pytest.raises(UserError, match="not a release number"):
        put(release)


def test_variant_that_is_none_is_refused(put: Any, tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(IntegrityError, match="is not a file of Sluice"):
        put(variant_folder=tmp_path / "empty")
    assert not (workspace.repository / "grid").exists()


def test_private_repository_is_what_will_serve(
    put: Any, variant_folder: Path, tmp_path: Path
) -> None:
    root = build_private(
        tmp_path / "private", variant_folder, "grid", kind="whisper", batching=Batching()
    )
    private, published = ReleaseLayout(root, "grid", 1), put(1).layout
    own = {"golden.json", "release.json"}
    files = {name: data for name, data in snapshot(private.folder).items() if name not in own}
    served = {name: data for name, data in snapshot(published.folder).items() if name not in own}
    assert files == served
    assert private.config.read_text() == published.config.read_text()
    assert not private.golden.exists()


def test_digest_of_the_program_follows_its_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = program_digest("whisper")
    assert before == publishing.program_digest("whisper")
    programs = shutil.copytree(
        Path(publishing.__file__).parent / "programs",
        tmp_path / "programs",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    monkeypatch.setattr("model_repository.building._PROGRAMS", programs)
    assert program_digest("whisper") == before
    path = programs / "common" / "quality.py"
    path.write_text(path.read_text() + "\n")
    assert program_digest("whisper") != before
