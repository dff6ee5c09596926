"""Whatever is damaged on disk is found, taken away, told of, and healed where good bytes are."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from model_repository.publishing import verify_release
from pipelines.byte_progress import ByteProgress
from pipelines.quarantine import Quarantine, inode_of
from pipelines.scrub_findings import Expected, check_files
from registry.errors import IntegrityError, RetryableEngineError, UserError
from registry.signature import VerifyingKey
from tests.rollout.failing_files import FailingFiles
from tests.rollout.file_world import PLAN, FileWorld, without_envoy

from .scrub_world import MODEL, RUN, ScrubWorld, damage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENOUGH = 3
"""Folders that are added and published while it is scrubbed."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> ScrubWorld:
    return ScrubWorld.made(tmp_path_factory.mktemp("scrub") / "template")


@pytest.fixture
def world(template: ScrubWorld, tmp_path: Path) -> ScrubWorld:
    return template.copied_to(tmp_path / "workspace")


def verify(world: ScrubWorld, release: int) -> None:
    workspace = world.workspace
    key = VerifyingKey.load(workspace.keys)
    verify_release(workspace.repository, workspace.releases, MODEL, release, key)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock" and "journal" not in path.name
    }


def test_a_whole_workspace_is_whole_and_nothing_is_touched(world: ScrubWorld) -> None:
    before = snapshot(world.root)
    scrubbed = world.scrub()
    assert scrubbed.whole
    assert snapshot(world.root) == before
    assert not world.workspace.quarantine.exists()
    by_place = {one.place: one for one in scrubbed.checked}
    store = snapshot(world.workspace.store)
    assert by_place["store"].files == len(store)
    assert by_place["store"].bytes == sum(map(len, store.values()))
    served = snapshot(world.workspace.repository)
    assert by_place["releases"].bytes == sum(map(len, served.values()))
    assert by_place["MLflow's copies"].files == 2


@pytest.mark.parametrize("how", ["flipped", "truncated", "longer", "gone", "link", "folder"])
def test_a_damaged_blob_is_taken_away_and_healed(world: ScrubWorld, how: str) -> None:
    blob = world.blob(world.variant, "decoder.onnx")
    good = blob.read_bytes()
    match how:
        case "flipped":
            bad = damage(blob, at=500)
        case "truncated":
            bad = damage(blob, good[:-1])
        case "longer":
            bad = damage(blob, good + b"\0")
        case _:
            bad = b""
            blob.unlink()
    if how == "link":
        blob.symlink_to("/etc/hostname")
    if how == "folder":
        blob.mkdir()
    (outcome,) = world.scrub().outcomes
    assert outcome.outcome == "healed"
    assert blob.read_bytes() == good
    assert not blob.is_symlink()
    assert "repository" in outcome.healed_from
    world.store.verify(world.variant)
    if bad:
        assert list(world.quarantined.values()) == [bad]
        assert world.notes[0]["expected"] == blob.name
    kinds = ["integrity-broken", *(["quarantined"] if how != "gone" else []), "healed"]
    entries = world.entries("integrity-broken", "quarantined", "healed")
    assert [entry.kind for entry in entries] == kinds
    assert entries[0].body["variants"] == [f"onnx-int8 of {world.artifact[:12]}"]
    assert entries[0].body["releases"] == [1, 2]
    assert world.scrub().whole


def test_an_artifacts_blob_is_healed_from_mlflow_and_the_copy_from_the_blob(
    world: ScrubWorld,
) -> None:
    blob = world.blob(world.artifact, "model.bin")
    copy = world.workspace.mlflow / "artifacts" / MODEL / RUN / "artifacts/artifact/model.bin"
    for path, twin in ((blob, copy), (copy, blob)):
        damage(path)
        (outcome,) = world.scrub().outcomes
        assert (outcome.outcome, outcome.healed_from) == ("healed", str(twin))
    assert world.scrub().whole


def test_without_a_good_copy_a_blob_stays_away_and_its_dependents_are_named_once(
    world: ScrubWorld,
) -> None:
    shutil.rmtree(world.workspace.mlflow)
    blob = world.blob(world.artifact, "model.bin")
    damage(blob)
    (outcome,) = world.scrub().outcomes
    assert outcome.outcome == "quarantined"
    assert outcome.affected[0].artifacts == (world.artifact,)
    with pytest.raises(IntegrityError, match=r"the bytes of model\.bin are gone"):
        world.store.verify(world.artifact)
    (again,) = world.scrub().outcomes
    assert (again.outcome, again.finding.what) == ("missing", "is missing")
    assert len(world.entries("integrity-broken")) == 1
    world.store.add(world.root / "source")
    for _ in range(2):
        assert world.scrub().whole
    assert len(world.entries("healed")) == 1


@pytest.mark.parametrize("gone", [False, True])
def test_a_damaged_manifest_is_healed_from_mlflow(world: ScrubWorld, *, gone: bool) -> None:
    path = world.store.manifest_path(world.artifact)
    good = path.read_bytes()
    if gone:
        path.unlink()
    else:
        damage(path, good.replace(b"model.bin", b"nodel.bin"))
    (outcome,) = world.scrub().outcomes
    assert outcome.outcome == "healed"
    assert path.read_bytes() == good
    assert outcome.affected[0].artifacts == (world.artifact,)


def test_what_belongs_to_nobody_is_taken_out_of_the_store(world: ScrubWorld) -> None:
    strange = [
        world.workspace.store / "blobs" / "ab" / "notes.txt",
        world.workspace.store / "manifests" / "no" / "note.json",
    ]
    for path in strange:
        path.parent.mkdir(exist_ok=True)
        path.write_text("?")
    assert {one.outcome for one in world.scrub().outcomes} == {"quarantined"}
    assert not [path for path in strange if path.exists()]
    assert world.scrub().whole


def change_weights(world: ScrubWorld) -> Path:
    path = world.layout(2).folder / "variant" / "decoder.onnx"
    damage(path, at=77)
    return path


def lose_program(world: ScrubWorld) -> Path:
    path = world.layout(2).folder / "model.py"
    path.unlink()
    return path


def change_program(world: ScrubWorld) -> Path:
    path = world.layout(2).folder / "serving" / "whisper" / "greedy.py"
    damage(path)
    return path


def add_bytecode(world: ScrubWorld) -> Path:
    path = world.layout(2).folder / "__pycache__"
    path.unlink()
    path.mkdir()
    (path / "model.cpython-311.pyc").write_bytes(b"evil")
    return path / "model.cpython-311.pyc"


def add_hidden(world: ScrubWorld) -> Path:
    path = world.layout(2).folder / "variant" / ".hidden.so"
    path.write_bytes(b"evil")
    return path


def add_link(world: ScrubWorld) -> Path:
    path = world.layout(2).folder / "variant" / "more"
    path.symlink_to("/etc")
    return path


@pytest.mark.parametrize(
    "act", [change_weights, lose_program, change_program, add_bytecode, add_hidden, add_link]
)
def test_a_release_with_other_bytes_is_made_whole_again(
    world: ScrubWorld, act: Callable[[ScrubWorld], Path]
) -> None:
    path = act(world)
    with pytest.raises(IntegrityError):
        verify(world, 2)
    outcomes = world.scrub().outcomes
    assert str(path) in {str(one.finding.path) for one in outcomes}
    assert {one.affected[0].releases for one in outcomes} == {(2,)}
    verify(world, 2)
    verify(world, 1)
    assert world.scrub().whole


def test_a_changed_configuration_cannot_be_healed_and_is_never_admitted(
    world: ScrubWorld,
) -> None:
    config = world.layout(2).config
    bad = damage(config, config.read_bytes() + b"# more")
    (outcome,) = world.scrub().outcomes
    assert outcome.outcome == "quarantined"
    assert list(world.quarantined.values()) == [bad]
    with pytest.raises(IntegrityError, match=r"configs/r2\.pbtxt is missing"):
        verify(world, 2)
    verify(world, 1)


def test_a_record_of_another_release_is_no_record(world: ScrubWorld) -> None:
    releases = world.workspace.releases / MODEL
    shutil.copy(releases / "1.json", releases / "2.json")
    (outcome,) = world.scrub().outcomes
    assert "the record is of speech release 1" in outcome.finding.what
    assert outcome.outcome == "quarantined"
    with pytest.raises(IntegrityError, match="no signed record"):
        verify(world, 2)


def test_an_old_record_that_was_signed_for_the_same_number_is_not_the_journals(
    world: ScrubWorld,
) -> None:
    record = world.workspace.releases / MODEL / "2.json"
    content = json.loads(record.read_text())
    content["record"]["manifest"]["files"].pop()
    signing = world.platform.signing_key
    from registry.files import canonical_json

    content["signature"] = signing.sign(canonical_json(content["record"]))
    record.write_bytes(canonical_json(content))
    (outcome,) = world.scrub().outcomes
    assert "not the record that the journal knows" in outcome.finding.what


def test_a_lost_record_and_an_unknown_release_are_told_of(world: ScrubWorld) -> None:
    (world.workspace.releases / MODEL / "2.json").unlink()
    shutil.copytree(world.layout(1).folder, world.layout(9).folder)
    whats = {one.finding.what for one in world.scrub().outcomes}
    assert whats == {
        "the signed record is missing",
        "nobody signed or reserved this release",
    }


def test_a_release_cut_short_by_a_crash_is_no_finding(world: ScrubWorld) -> None:
    world.publish(3, told=False)
    (world.workspace.releases / MODEL / "3.json").unlink()
    assert world.scrub().whole


def test_one_models_scrub_looks_at_its_own_only(world: ScrubWorld, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_bytes(b"x" * 99)
    other = world.store.add(tmp_path / "other").digest
    damage(world.blob(other, "x"))
    assert world.scrub(MODEL).whole
    (outcome,) = world.scrub().outcomes
    assert outcome.affected == ()
    with pytest.raises(UserError, match="no model 'nobody'"):
        world.scrub("nobody")


def test_a_live_release_goes_on_and_whoever_is_on_call_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is let be; from its files it can neither be restarted nor gone back to."""
    from pipelines import notifications

    with without_envoy():
        served = FileWorld(tmp_path / "served", now=1_700_000_000.0)
        for release in (1, 2):
            served.publish(release)
            assert served.controller().promote(MODEL, release, PLAN).outcome == "settled"
        world = ScrubWorld(served.root)
        told: list[str] = []
        real = notifications.notifying

        def notifying(platform: Any, model: str, **options: Any) -> Any:
            told.append(model)
            return real(platform, model, **options)

        monkeypatch.setattr("pipelines.scrubbing.notifying", notifying)
        live, before = served.serving.live, served.route
        assert live == 2
        for release in (1, 2):
            damage(world.layout(release).config)
        scrubbed = world.scrub()
        assert scrubbed.checked[1].remark == "what runs was loaded from these: speech 1, speech 2"
        outcomes = scrubbed.outcomes
        by_release = {one.affected[0].releases[0]: one for one in outcomes}
        assert by_release[2].affected[0].route == ((2, 100),)
        assert by_release[2].affected[0].running == (2,)
        assert not by_release[1].affected[0].live
        assert "release 2 (100 % of the traffic)" in by_release[2].affected[0].sentence()
        assert served.route == before
        assert 2 in world.platform.fleet.running(MODEL)
        assert told == [MODEL]
        entries = world.entries("integrity-broken")
        assert [notifications.event_of(entry) for entry in entries] == ["integrity-broken"] * 2
        world.platform.fleet.stop(MODEL, 1)  # else it answers from memory, which is good
        back = served.controller().rollback(MODEL, 1, "asked for by a person")
        assert back.outcome != "rolled-back"
        assert "configs/r1.pbtxt is missing" in back.reason
        assert served.route == before
        assert not world.platform.fleet.admit(MODEL, 2).admitted


def test_two_scrubs_at_once_are_refused(world: ScrubWorld) -> None:
    busy: list[str] = []

    def second(_: int) -> None:
        if not busy:
            with pytest.raises(RetryableEngineError, match="another scrub") as refusal:
                ScrubWorld(world.root).scrub()
            busy.append(str(refusal.value))

    assert world.scrub(on_bytes=second).whole
    assert busy


def test_adding_and_publishing_meanwhile_raise_no_alarm(world: ScrubWorld, tmp_path: Path) -> None:
    over, done = threading.Event(), []

    def work() -> None:
        other = ScrubWorld(world.root)
        number = 2
        while not over.is_set():
            number += 1
            folder = tmp_path / f"added-{number}"
            folder.mkdir()
            (folder / "w.bin").write_bytes(os.urandom(1 << 16))
            other.store.add(folder)
            other.store.add(world.root / "variant")
            other.publish(number)
            done.append(number)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        while len(done) < ENOUGH:
            assert worker.is_alive()
            assert world.scrub().whole
    finally:
        over.set()
        worker.join()
    assert world.scrub().whole


def test_a_file_that_goes_away_midway_is_no_crash(world: ScrubWorld, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(b"stray")
    blob = world.blob(world.artifact, "model.bin")
    strays = [Expected(path) for path in paths]
    wanted = [Expected(blob, blob.name), *strays]

    def take_away(_: int) -> None:
        for path in [*paths, blob]:
            path.unlink(missing_ok=True)

    findings = check_files("store", wanted, take_away).findings
    # Whether one was read before it went is chance; a stray that is gone is well.
    assert all(one.path == blob for one in findings if one.what == "is missing")
    assert {one.what for one in check_files("store", wanted, None).findings} == {"is missing"}


def test_a_good_copy_that_came_meanwhile_is_not_taken_away(tmp_path: Path) -> None:
    base = tmp_path / "state"
    base.mkdir()
    path = base / "blob"
    path.write_bytes(b"bad")
    looked_at = inode_of(path)
    assert looked_at is not None
    better = base / "better"
    better.write_bytes(b"good")
    better.replace(path)
    assert Quarantine(tmp_path / "quarantine", base).take(path, looked_at, {}) is None
    assert path.read_bytes() == b"good"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_the_quarantine_loses_nothing(
    world: ScrubWorld, tmp_path: Path, code: int
) -> None:
    shutil.rmtree(world.workspace.mlflow)
    blob = world.blob(world.artifact, "model.bin")
    bad = damage(blob)
    inode = inode_of(blob)
    assert inode is not None
    state = world.workspace.state
    quarantine = Quarantine(world.workspace.quarantine / "1", state)
    with FailingFiles(state).mounted() as counting:
        assert quarantine.take(blob, inode, {}) is not None
    assert len(counting.names) > 8
    for number in range(1, len(counting.names) + 1):
        again = world.copied_to(tmp_path / str(number))
        shutil.rmtree(again.workspace.quarantine)
        there = again.blob_of(blob, world)
        there.write_bytes(bad)
        disk = FailingFiles.raising(again.workspace.state, code, number, lasting=True)
        quarantine = Quarantine(again.workspace.quarantine / "1", again.workspace.state)
        with disk.mounted(), pytest.raises(Exception, match="cannot write"):
            quarantine.take(there, inode_of(there) or (0, 0), {"why": "flipped"})
        kept = list(again.quarantined.values()) or [there.read_bytes()]
        assert kept == [bad]
        assert len(again.notes) == len(again.quarantined)


def test_a_full_disk_is_told_and_the_damage_stays_where_it_was(world: ScrubWorld) -> None:
    config = world.layout(2).config
    bad = damage(config, b"# other")
    quarantine = world.workspace.quarantine
    quarantine.mkdir()
    disk = FailingFiles.raising(quarantine, errno.ENOSPC, 1, lasting=True)
    with disk.mounted():
        (outcome,) = world.scrub().outcomes
    assert outcome.outcome == "left"
    assert "No space left on device" in outcome.reason
    assert config.read_bytes() == bad
    (again,) = world.scrub().outcomes
    assert again.outcome == "quarantined"


def test_ctrl_c_leaves_everything_as_it_was(world: ScrubWorld) -> None:
    damage(world.blob(world.artifact, "model.bin"))
    before = snapshot(world.root)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.scrub(on_bytes=stop)
    assert snapshot(world.root) == before
    assert len(world.scrub().outcomes) == 1


def test_the_command_prints_a_table_and_its_exit_code_says_what_was_found(
    world: ScrubWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_WORKSPACE", str(world.root))
    ran = CliRunner().invoke(app, ["scrub"])
    assert ran.exit_code == 0, ran.output
    assert "every byte is as recorded" in ran.stdout
    assert all(len(line) <= 80 for line in ran.stdout.splitlines())
    damage(world.layout(1).config)
    ran = CliRunner().invoke(app, ["scrub", MODEL, "--output", "json"])
    assert ran.exit_code == 1
    found = json.loads(ran.stdout)["findings"][0]
    assert found["affected"][0]["releases"] == [1]
    ran = CliRunner().invoke(app, ["scrub"])
    assert "concerns speech: release 1" in ran.stdout
    ran = CliRunner().invoke(app, ["history", MODEL])
    assert "scrub: .sluice/repository" in ran.stdout


def test_the_flow_fails_when_something_could_not_be_healed(world: ScrubWorld) -> None:
    from pipelines.scrub import scrub

    run: Any = scrub.fn
    damage(world.blob(world.variant, "decoder.onnx"))
    assert [one["outcome"] for one in run(str(world.root))["findings"]] == ["healed"]
    assert run(str(world.root), MODEL)["whole"]
    damage(world.layout(1).config)
    with pytest.raises(IntegrityError, match=r"1 files .*configs/r1\.pbtxt was changed on disk"):
        run(str(world.root))
    for none in ("", "{{ $SLUICE_WORKSPACE }}"):
        with pytest.raises(UserError, match="not the folder of a workspace; set SLUICE_WORKSPACE"):
            run(none)


def test_progress_is_told_after_two_seconds_and_not_before() -> None:
    told: list[str] = []
    now = [0.0]
    progress = ByteProgress("Hashing", 4_000_000_000, tell=told.append, clock=lambda: now[0])
    for second in (0.5, 1.9, 2.1, 3.0, 4.2):
        now[0] = second
        progress(500_000_000)
    assert told == ["Hashing: 1.5 of 4.0 GB", "Hashing: 2.5 of 4.0 GB"]
