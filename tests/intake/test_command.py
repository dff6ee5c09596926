"""`sluice inspect` says what may come in, and `register` stores nothing of what may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from pipelines import register as flow
from pipelines.assembly import Platform
from pipelines.scaffold import scaffold
from registry.errors import UserError
from registry.workspace import Workspace

from .attacks_archives import tarred
from .builders import model, pickled, write

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
WHISPER = GRID / "models" / "whisper-grid"


def inspected(path: Path, code: int, *more: str) -> str:
    ran = CliRunner().invoke(app, ["inspect", str(path), *more])
    assert ran.exit_code == code, ran.output
    return ran.stdout


def test_a_sound_folder(tmp_path: Path) -> None:
    shown = inspected(WHISPER, 0)
    assert "model.safetensors  safetensors" in " ".join(shown.split()).replace(" s", "  s")
    assert "all of it may come in" in shown
    assert max(map(len, shown.splitlines())) <= 80
    value = json.loads(inspected(model(tmp_path / "m"), 0, "--output", "json"))
    assert value["admitted"]
    assert {one["format"] for one in value["files"]} == {"json", "safetensors", "text", "tokenizer"}


def test_refusals_are_named(tmp_path: Path) -> None:
    folder = write(model(tmp_path / "m"), {"model.bin": pickled(tmp_path / "canary")})
    assert "refused: model.bin: is a pickle" in inspected(folder, 2)
    value = json.loads(inspected(folder, 2, "--output", "json"))
    assert not value["admitted"]
    assert value["refusals"][0]["path"] == "model.bin"
    assert value["refusals"][0]["remedy"]


def test_an_archive_is_unpacked_for_it(tmp_path: Path) -> None:
    archive = write(tmp_path, {"m.tar": tarred(("README.md", b"a"))}) / "m.tar"
    assert "all of it may come in" in inspected(archive, 0)
    archive.write_bytes(tarred(("../a.md", b"a")))
    ran = CliRunner().invoke(app, ["inspect", str(archive)])
    assert isinstance(ran.exception, UserError)
    assert "leaves its folder" in str(ran.exception)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace without engines; the flow's tasks run as the functions that they are."""
    root = tmp_path / "home"
    scaffold(root, "speech", GRID / "data" / "evaluation")
    monkeypatch.setattr(flow, "prefetch", lambda name: name)
    names = ("admit_source", "ask_advisers", "inspect_source", "store_artifact", "register_version")
    for name in names:
        monkeypatch.setattr(flow, name, getattr(flow, name).fn)
    return Workspace(root)


def register(workspace: Workspace, source: Path) -> Any:
    return flow.register.fn(str(workspace.root), "speech", str(source))


def test_what_is_refused_is_not_stored_and_not_journalled(
    workspace: Workspace, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    folder = write(model(tmp_path / "m"), {"model.bin": pickled(canary)})
    archive = write(tmp_path, {"m.tar": tarred(("pytorch_model.bin", pickled(canary)))}) / "m.tar"
    for source in (folder, archive):
        with pytest.raises(UserError, match="is a pickle") as caught:
            register(workspace, source)
        assert caught.value.where.startswith(f"{source}/")
    assert not canary.exists()
    platform = Platform(workspace)
    assert platform.store.digests() == ()
    assert not platform.catalog("speech").artifacts
    left = [path for path in workspace.work.rglob("*") if path.is_file()]
    assert left == []


def test_a_folder_that_changes_meanwhile_is_not_registered(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    folder = Path(shutil.copytree(WHISPER, tmp_path / "whisper"))
    store = flow.store_artifact

    def late(*arguments: str) -> str:
        write(folder, {"README.md": pickled(tmp_path / "canary", 0)})
        return str(store(*arguments))

    monkeypatch.setattr(flow, "store_artifact", late)
    with pytest.raises(UserError, match="changed while it was registered"):
        register(workspace, folder)
    assert not Platform(workspace).catalog("speech").artifacts


@pytest.mark.parametrize(
    ("model_name", "source", "message"),
    [
        ("speech", "nowhere", "no such folder"),
        ("speech", "sluice.toml", "is not a folder, nor an archive that is read"),
        ("nobody", ".", "no model 'nobody'"),
    ],
)
def test_a_wrong_word_is_told_before_any_engine_begins(
    workspace: Workspace, model_name: str, source: str, message: str
) -> None:
    path = workspace.root / source
    ran = CliRunner(env={"SLUICE_WORKSPACE": str(workspace.root)}).invoke(
        app, ["register", model_name, str(path)]
    )
    assert isinstance(ran.exception, UserError)
    assert message in str(ran.exception)
    assert not workspace.prefect.exists()
