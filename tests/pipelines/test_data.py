"""Sets that come from DVC, with DVC itself: what is pinned is what is read, or nothing is."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from pipelines.assembly import Platform
from pipelines.data import contents_of, declared_contents, gate_dataset, pinned_set
from pipelines.data_sets import add_set, list_sets, verify_sets
from pipelines.model_config import load_model_config
from pipelines.scaffold import WORKSPACE_FILE
from registry.errors import EngineError, IntegrityError, RetryableEngineError, UserError
from registry.quiet import QUIET_ENVIRONMENT
from registry.workspace import Workspace

from ..validation.conftest import SetOnDisk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
MODEL = """\
kind = "whisper"
# Ours.
[convert]
variants = ["onnx-fp32"]

[gate]
dataset = "data/evaluation" # of spring
sha256 = "{sha256}"
limits.wer = 0.05

[rollout]
alpha = 0.01
slow_ms = 1000
steps = [{{ weight = 100 }}]
"""


class Place:
    """A workspace with one model and one set, in git and DVC or in neither."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True)
        (root / "sluice.toml").write_text(WORKSPACE_FILE)
        self.workspace = Workspace(root)
        self.disk = SetOnDisk(root / "data" / "evaluation")
        self.sha256 = self.disk.seal()
        self.folder = self.disk.folder
        (root / "models").mkdir()
        self.policy = root / "models" / "grid.toml"
        self.policy.write_text(MODEL.format(sha256=self.sha256))

    def git(self, *arguments: str) -> str:
        ran = subprocess.run(
            [*GIT, *arguments],
            cwd=self.workspace.root,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return ran.stdout.strip()

    def dvc(self, *arguments: str) -> None:
        import os

        subprocess.run(
            [sys.executable, "-m", "dvc", *arguments, "--quiet"],
            cwd=self.workspace.root,
            env=os.environ | QUIET_ENVIRONMENT,
            check=True,
            timeout=120,
        )

    def change(self, number: int = 1) -> str:
        """Other samples in one clip, sealed again; the new hash."""
        path = self.folder / f"audio/clip-{number}.wav"
        path.write_bytes(path.read_bytes()[:-2] + b"\x01\x00")
        return self.disk.seal()

    def add_committed(self, *, init: bool = True) -> str:
        """Track the set, commit, add it again; the revision that is then pinned."""
        if init:
            self.git("init", "-q")
        add_set(self.workspace, self.folder)
        self.git("add", ".dvc", "data/evaluation.dvc", "data/.gitignore")
        self.git("commit", "-q", "-m", "One")
        added = add_set(self.workspace, self.folder, model="grid")
        return str(added["revision"])

    def gate(self) -> Any:
        return gate_dataset(Platform(self.workspace), load_model_config(self.workspace, "grid"))

    def cached(self, name: str) -> Path:
        """DVC's copy of the file."""
        import hashlib

        digest = hashlib.md5((self.folder / name).read_bytes(), usedforsecurity=False).hexdigest()
        return self.workspace.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "home")


@pytest.fixture
def committed(place: Place) -> tuple[Place, str]:
    return place, place.add_committed()


def tamper(place: Place, name: str = "audio/clip-1.wav") -> None:
    path = place.cached(name)
    path.chmod(0o644)
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes([content[-2] ^ 1, content[-1]]))


def test_a_set_without_a_revision_is_the_folder_as_it_is(place: Place) -> None:
    dataset = place.gate()
    assert (dataset.sha256, dataset.folder) == (place.sha256, place.folder)
    place.change()
    with pytest.raises(UserError, match=r"not the pinned .*audio/clip-1\.wav is not the file"):
        place.gate()


def test_without_git_a_set_is_added_and_pinned_by_its_hash(place: Place) -> None:
    changed = place.change()
    added = add_set(place.workspace, place.folder, model="grid")
    assert (added["sha256"], added["revision"], added["broken"]) == (changed, "", [])
    assert (place.workspace.root / "data/evaluation.dvc").is_file()
    text = place.policy.read_text()
    assert "# Ours." in text
    assert "# of spring" in text
    assert load_model_config(place.workspace, "grid").gate.sha256 == changed
    assert place.gate().sha256 == changed
    (row,) = verify_sets(place.workspace)
    assert row["ok"], row["findings"]


def test_a_revision_gives_the_pinned_bytes_whatever_the_folder_holds(
    committed: tuple[Place, str],
) -> None:
    place, revision = committed
    assert revision == place.git("rev-parse", "HEAD")
    assert load_model_config(place.workspace, "grid").gate.revision == revision
    place.change()
    dataset = place.gate()
    assert dataset.sha256 == place.sha256
    assert place.folder not in dataset.folder.parents
    first = dataset.question(dataset.utterances[0])
    assert first.shape == (1600,)
    assert list(place.workspace.staging.iterdir()) == []


def test_a_workspace_inside_a_git_tree_has_revisions_too(tmp_path: Path) -> None:
    place = Place(tmp_path / "tree" / "team" / "home")
    subprocess.run([*GIT, "init", "-q", str(tmp_path / "tree")], check=True, timeout=60)
    revision = place.add_committed(init=False)
    assert revision == place.git("rev-parse", "HEAD")
    place.change()
    assert place.gate().sha256 == place.sha256


def test_a_later_revision_is_another_set(committed: tuple[Place, str]) -> None:
    place, revision = committed
    changed = place.change()
    add_set(place.workspace, place.folder)
    place.git("add", "data/evaluation.dvc")
    place.git("commit", "-q", "-m", "Two")
    head = place.git("rev-parse", "HEAD")
    assert pinned_set(place.workspace, place.folder, changed, head).sha256 == changed
    assert pinned_set(place.workspace, place.folder, place.sha256, revision).sha256 == place.sha256
    with pytest.raises(UserError, match="not the pinned"):
        pinned_set(place.workspace, place.folder, "ab" * 32, head)


def test_a_tampered_cache_is_refused_by_the_files_name(committed: tuple[Place, str]) -> None:
    place, revision = committed
    tamper(place)
    # DVC itself serves the changed bytes without a word.
    target = place.workspace.root / "served.wav"
    name = "data/evaluation/audio/clip-1.wav"
    place.dvc("get", ".", name, "--rev", revision, "--out", str(target))
    assert target.read_bytes() != (place.folder / "audio/clip-1.wav").read_bytes()
    with pytest.raises(IntegrityError, match=r"audio/clip-1\.wav does not hash"):
        place.gate()
    assert not (place.workspace.state / "datasets" / place.sha256).exists()
    (row,) = verify_sets(place.workspace)
    assert not row["ok"]
    assert any("audio/clip-1.wav does not hash" in line for line in row["findings"])


def test_a_tampered_copy_of_ours_is_made_again(committed: tuple[Place, str]) -> None:
    place, _ = committed
    kept = place.gate().folder / "audio/clip-2.wav"
    kept.write_bytes(kept.read_bytes()[:-2] + b"\x05\x05")
    assert place.gate().sha256 == place.sha256


def test_a_lost_cache_is_an_engines_failure(committed: tuple[Place, str]) -> None:
    place, _ = committed
    place.cached("audio/clip-1.wav").unlink()
    with pytest.raises(EngineError, match="dvc pull"):
        place.gate()


def test_a_revision_that_is_not_there(committed: tuple[Place, str]) -> None:
    place, _ = committed
    with pytest.raises(UserError, match="no revision 'spring'"):
        pinned_set(place.workspace, place.folder, place.sha256, "spring")


def test_a_set_that_is_not_in_dvc(committed: tuple[Place, str]) -> None:
    place, revision = committed
    other = SetOnDisk(place.workspace.root / "data" / "other")
    with pytest.raises(UserError, match="holds no set here"):
        pinned_set(place.workspace, other.folder, other.seal(), revision)


def test_a_revision_without_a_repository(place: Place) -> None:
    with pytest.raises(UserError, match="in no DVC repository"):
        pinned_set(place.workspace, place.folder, place.sha256, "main")


def test_a_set_of_another_kind_is_refused(place: Place) -> None:
    place.policy.write_text(place.policy.read_text().replace('"whisper"', '"translation"'))
    with pytest.raises(UserError, match="is a speech set"):
        place.gate()


def test_what_a_stage_made_is_compared_and_not_added(place: Place) -> None:
    root = place.workspace.root
    place.git("init", "-q")
    place.dvc("init")
    (root / "dvc.yaml").write_text(
        "stages:\n  make:\n    cmd: 'true'\n    outs:\n      - data/evaluation\n"
    )
    place.dvc("commit", "--force")
    assert add_set(place.workspace, place.folder)["broken"] == []
    assert not (root / "data/evaluation.dvc").exists()
    place.change()
    with pytest.raises(UserError, match=r"a stage of dvc\.yaml makes this set"):
        add_set(place.workspace, place.folder)


def test_a_broken_contract_changes_nothing(place: Place) -> None:
    for row in place.disk.rows:
        row["speaker"] = "only"
    place.disk.write_manifest()
    place.disk.seal()
    before = place.policy.read_bytes()
    added = add_set(place.workspace, place.folder, model="grid")
    assert "speaker has at least 2 different values" in added["broken"][0]
    assert place.policy.read_bytes() == before
    assert not (place.workspace.root / ".dvc").exists()


def test_a_set_from_elsewhere_is_refused(place: Place, tmp_path: Path) -> None:
    other = SetOnDisk(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="outside of the workspace"):
        add_set(place.workspace, other.folder)
    assert not (tmp_path / ".dvc").exists()


def test_sets_are_listed_with_their_pins(place: Place) -> None:
    other = SetOnDisk(place.workspace.root / "data" / "other")
    other.seal(name="spare")
    rows = {row["name"]: row for row in list_sets(place.workspace)}
    assert rows["tiny"]["pinned_by"] == ["grid"]
    assert rows["tiny"]["state"] == "as pinned"
    assert rows["tiny"]["utterances"] == 4
    assert rows["tiny"]["hours"] == pytest.approx(0.4 / 3600, rel=0.01)
    assert (rows["spare"]["pinned_by"], rows["spare"]["state"]) == ([], "not pinned")
    place.change()
    states = [row["state"] for row in list_sets(place.workspace)]
    assert states == ["not as pinned", "not pinned"]


def test_verify_knows_a_set_by_name_or_folder(place: Place) -> None:
    assert [row["name"] for row in verify_sets(place.workspace, "tiny")] == ["tiny"]
    assert [row["name"] for row in verify_sets(place.workspace, "data/evaluation")] == ["tiny"]
    with pytest.raises(UserError, match="no set 'winter'; this workspace has tiny"):
        verify_sets(place.workspace, "winter")


def test_a_changed_folder_is_found_by_dvcs_lock_too(place: Place) -> None:
    add_set(place.workspace, place.folder, model="grid")
    place.change(3)
    (row,) = verify_sets(place.workspace)
    assert not row["ok"]
    assert any("audio/clip-3.wav" in line and "pinned" in line for line in row["findings"])
    assert any("audio/clip-3.wav does not hash to what DVC's lock" in x for x in row["findings"])


def test_training_is_a_set_or_a_list_of_hashes(place: Place, tmp_path: Path) -> None:
    digests = {one.sha256 for one in place.gate().utterances}
    assert contents_of(place.folder) == digests
    listed = tmp_path / "train.sha256"
    listed.write_text("".join(f"{digest}  clip.wav\n" for digest in digests))
    assert contents_of(listed) == digests
    listed.write_text("ab" * 32 + "  a.wav\nnothing\n")
    with pytest.raises(UserError, match=r"train\.sha256:2: the line does not begin"):
        contents_of(listed)
    with pytest.raises(UserError, match="neither the folder"):
        contents_of(tmp_path / "absent")
    with pytest.raises(UserError, match="not the folder of a set"):
        contents_of(tmp_path)


def test_a_variant_declares_training_and_calibration(place: Place) -> None:
    text = place.policy.read_text()
    rules = 'limits.wer = 0.05\ncontract.training = ["data/evaluation"]'
    place.policy.write_text(text.replace("limits.wer = 0.05", rules))
    platform = Platform(place.workspace)
    folder = place.workspace.root / "variant"
    folder.mkdir()
    (folder / "variant.json").write_text(json.dumps({"calibration": {"items": ["ab" * 32]}}))
    digest = platform.store.add(folder).digest
    config = load_model_config(place.workspace, "grid")
    record: Any = SimpleNamespace(digest=digest)
    found = declared_contents(platform, config, record)
    assert found["calibration"] == {"ab" * 32}
    assert found["training"] == {one.sha256 for one in place.gate().utterances}


def test_one_command_at_a_time_fetches_a_set(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.data.FETCH_TIMEOUT_S", 0.1)
    folder = place.workspace.state / "datasets"
    folder.mkdir(parents=True)
    with (
        FileLock(folder / f"{place.sha256}.lock"),
        pytest.raises(RetryableEngineError, match="another command is fetching"),
    ):
        pinned_set(place.workspace, place.folder, place.sha256, "main")
