"""Regions of a workspace: their settings, their copies of releases, who may, and what is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from canary.plan import RolloutPlan
from cli.main import app
from model_repository.layout import ReleaseLayout
from model_repository.publishing import check_files, read_record
from model_repository.replication import replicate
from pipelines.assembly import Platform
from pipelines.waves.overview import regions_view
from pipelines.waves.platforms import RegionPlatform, coordinator
from pipelines.waves.promoting import checked_plan, wait_for_waves
from registry.errors import ConflictError, EngineError, IntegrityError, UserError
from registry.regions import open_region, region_names
from registry.signature import VerifyingKey
from tests.infra.toys import make_workspace, publish

from .stage import MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTINGS = """
[serving]
port = 9000

[regions.eu-west]
port = 9001
kubernetes = { context = "eu" }

[regions.us-east]
folder = "elsewhere"
telemetry = { prometheus = "http://prometheus.us:9090" }
"""
POLICY = f"""
kind = "whisper"

[convert]
variants = ["onnx-fp32"]

[gate]
dataset = "set"
sha256 = "{"ab" * 32}"
limits.wer = 0.05

[rollout]
waves = ["eu-west", "us-east"]
"""


@pytest.fixture
def home(tmp_path: Path) -> Platform:
    workspace = make_workspace(tmp_path / "home", SETTINGS)
    (workspace.root / "models").mkdir()
    workspace.model_file(MODEL).write_text(POLICY)
    publish(workspace, MODEL, 1)
    return Platform(workspace, actor="ann")


# Settings and places


def test_a_region_is_a_workspace_with_the_keys_and_policies_of_its_home(home: Platform) -> None:
    eu, us = (open_region(home.workspace, name) for name in region_names(home.workspace))
    assert (eu.settings.serving.port, us.settings.serving.port) == (9001, 0)
    assert (eu.settings.kubernetes.context, us.settings.kubernetes.context) == ("eu", "")
    assert us.settings.telemetry.prometheus == "http://prometheus.us:9090"
    assert eu.keys == us.keys == home.workspace.keys
    assert eu.repository == home.workspace.state / "regions" / "eu-west" / "repository"
    assert us.repository == home.workspace.root / "elsewhere" / "repository"
    assert len({eu.journal_url, us.journal_url, home.workspace.journal_url}) == 3
    assert eu.model_file(MODEL) == home.workspace.model_file(MODEL)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("[regions.EU]", "'EU' is not a region name"),
        ("[regions.eu]\ncolour = 1", "colour"),
        ("[regions.eu]\nkubernetes = { namespace = '-' }", "namespace"),
        ("[regions.eu]\ntelemetry = { prometheus = 'x' }", "prometheus"),
    ],
)
def test_a_region_that_cannot_be_meant_is_refused(tmp_path: Path, settings: str, why: str) -> None:
    workspace = make_workspace(tmp_path, settings)
    with pytest.raises(UserError, match=why):
        _ = workspace.settings


def test_a_workspace_without_regions_has_none(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    assert region_names(workspace) == ()
    assert regions_view(Platform(workspace), MODEL) == ([], "")


def test_an_unknown_region_is_refused_with_those_there_are(home: Platform) -> None:
    path = home.workspace.model_file(MODEL)
    path.write_text(POLICY.replace("us-east", "us-west"))
    with pytest.raises(UserError) as refused:
        checked_plan(home, MODEL)
    line = str(refused.value)
    assert "there is no region 'us-west'; allowed: eu-west, us-east" in line
    assert str(path) in line


# Copies


def copied(home: Platform, name: str = "eu-west") -> ReleaseLayout:
    region = open_region(home.workspace, name)
    key = VerifyingKey.load(home.workspace.keys)
    replicate(home.workspace, region, MODEL, 1, key)
    copy = ReleaseLayout(region.repository, MODEL, 1)
    check_files(copy, read_record(copy, region.releases, key))
    return copy


def test_a_release_is_copied_whole_and_once(home: Platform) -> None:
    copy = copied(home)
    before = {path: path.stat().st_ino for path in copy.folder.rglob("*")}
    assert copied(home).folder == copy.folder
    assert {path: path.stat().st_ino for path in copy.folder.rglob("*")} == before
    assert not any((home.workspace.state / "regions" / "eu-west" / "staging").iterdir())


def test_a_copy_that_was_interrupted_is_completed(home: Platform) -> None:
    copy = copied(home)
    region = open_region(home.workspace, "eu-west")
    copy.config.unlink()
    copy.record(region.releases).unlink()
    assert copied(home).config.is_file()


def spoil(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")


def test_what_the_home_does_not_have_as_signed_goes_nowhere(home: Platform) -> None:
    spoil(ReleaseLayout(home.workspace.repository, MODEL, 1).folder / "model.py")
    with pytest.raises(IntegrityError, match="is not the file that was recorded"):
        copied(home)
    region = open_region(home.workspace, "eu-west")
    assert not ReleaseLayout(region.repository, MODEL, 1).folder.exists()
    assert not any(region.staging.iterdir())


def test_a_copy_that_was_changed_is_told_and_left(home: Platform) -> None:
    copy = copied(home)
    spoil(copy.folder / "model.py")
    with pytest.raises(IntegrityError, match="is not the file that was recorded"):
        copied(home)


def test_a_link_is_no_release(home: Platform) -> None:
    path = ReleaseLayout(home.workspace.repository, MODEL, 1).folder / "model.py"
    kept = path.rename(path.with_name("kept"))
    path.symlink_to(kept)
    with pytest.raises(IntegrityError, match="is missing or no plain file"):
        copied(home)


# Who may, and what the region knows by itself

DIGESTS = ("variant_digest", "artifact", "report_digest", "manifest_digest")
RECORD: Mapping[str, object] = {
    "release": 1,
    "variant": "toy",
    **dict.fromkeys(DIGESTS, "ab" * 32),
}
ACCESS = """
[[grants]]
role = "releaser"
actors = ["ann"]

[[grants]]
role = "on-call"
actors = ["bob"]

[[grants]]
role = "approver"
actors = ["cleo"]

[[production]]
approvals = 1
"""


def started(release: int) -> dict[str, Any]:
    plan = RolloutPlan().model_dump(mode="json")
    return {"rollout": 1, "candidate": release, "baseline": None, "plan": plan}


def test_the_homes_policy_and_approvals_hold_in_a_region(home: Platform) -> None:
    home.append(MODEL, "release-published", dict(RECORD))
    home.workspace.access_file.write_text(ACCESS)
    ann = Platform(home.workspace, actor="ann")
    region = RegionPlatform(ann, "eu-west")
    region.bring(MODEL, 1, lambda: None)
    with pytest.raises(UserError, match="approv"):
        region.append(MODEL, "rollout-started", started(1))
    approval = {"release": 1, "manifest_digest": "ab" * 32, "reason": ""}
    Platform(home.workspace, actor="cleo").append(MODEL, "release-approved", approval)
    region.append(MODEL, "rollout-started", started(1))
    bob = RegionPlatform(Platform(home.workspace, actor="bob"), "eu-west")
    with pytest.raises(UserError, match="bob may not promote"):
        bob.append(MODEL, "rollout-started", started(1))
    bob.append(MODEL, "rollback-requested", {"to": None, "reason": "a doubt"})


def test_a_region_knows_its_releases_without_the_home(home: Platform) -> None:
    home.append(MODEL, "release-published", dict(RECORD))
    region = RegionPlatform(home, "eu-west")
    told = region.bring(MODEL, 1, lambda: None)
    copies = [path for path in region.workspace.repository.rglob("*") if path.is_file()]
    assert (told["files"], told["bytes"]) == (
        len(copies),
        sum(path.stat().st_size for path in copies),
    )
    region.bring(MODEL, 1, lambda: None)
    kinds = [entry.kind for entry in region.journal.read(MODEL)]
    assert kinds == ["release-replicated"]
    Path(home.workspace.state / "journal.db").unlink()
    assert region.catalog(MODEL).require_release(MODEL, 1).variant == "toy"
    region.set_alias(MODEL, "production", 1)
    assert (region.workspace.pointers / f"{MODEL}.json").is_file()
    assert not home.workspace.pointers.exists()


def test_a_region_whose_journal_cannot_be_opened_is_cut_off(home: Platform) -> None:
    # Where the sqlite file should be is a folder, as a server that is away would be no server.
    (open_region(home.workspace, "us-east").root / "journal.db").mkdir(parents=True)
    waves_started(home)
    rows = {row["region"]: row for row in regions_view(home, MODEL)[0]}
    assert (rows["us-east"]["door"], rows["eu-west"]["door"]) == ("cut off", "not up")
    one = coordinator(home)
    with pytest.raises(EngineError, match="us-east: the first region cannot be reached"):
        one.require_reached(MODEL, "us-east")


def waves_started(home: Platform) -> None:
    plan = RolloutPlan(waves=("eu-west", "us-east"))
    body = {"waves": 1, "candidate": 1, "regions": list(plan.waves)}
    home.append(MODEL, "waves-started", {**body, "plan": plan.model_dump(mode="json")})


def test_waves_under_way_are_waited_for_and_then_told(home: Platform) -> None:
    wait_for_waves(home, MODEL, 1.0)
    waves_started(home)
    times = iter([0.0, 0.0, 5.0])
    with pytest.raises(ConflictError, match="release 1 is at eu-west, forward, after"):
        wait_for_waves(home, MODEL, 3.0, clock=lambda: next(times), sleep=lambda _: None)


# Commands


def sluice(home: Platform, *words: str) -> tuple[int, str, str]:
    ran = CliRunner().invoke(
        app, list(words), env={"SLUICE_WORKSPACE": str(home.workspace.root), "COLUMNS": "80"}
    )
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        return 2, ran.stdout, str(ran.exception)
    return ran.exit_code, ran.stdout, ran.stderr


def test_status_shows_each_region_within_80_columns(home: Platform) -> None:
    waves_started(home)
    code, out, _ = sluice(home, "status", MODEL)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    lines = [line.split() for line in out.splitlines()]
    assert ["eu-west", "1", "waiting", "-", "-", "-", "not", "up"] in lines
    assert f"{MODEL}: release 1 in waves, forward" in out
    value = json.loads(sluice(home, "status", MODEL, "-o", "json")[1])
    assert [row["region"] for row in value["regions"]] == ["eu-west", "us-east"]


def test_a_rehearsal_tells_the_order_and_the_chance_of_a_mistake(home: Platform) -> None:
    home.append(MODEL, "release-published", dict(RECORD))
    code, out, error = sluice(home, "promote", MODEL, "--release", "1", "--dry-run")
    assert code == 0, error
    assert "one after the other: eu-west, us-east" in out
    assert "turned back in any: at most 2.00%" in out
    assert home.journal.models() == (MODEL,)


def test_commands_refuse_before_anything_changes(home: Platform) -> None:
    code, _, error = sluice(home, "rollback", MODEL, "--region", "mars")
    assert (code, "allowed: eu-west, us-east" in error) == (2, True)
    code, _, error = sluice(home, "rollback", MODEL, "--region", "eu-west")
    assert (code, "no earlier healthy release" in error) == (2, True)
    waves_started(home)
    code, _, error = sluice(home, "rollback", MODEL, "--to", "1")
    assert (code, "name it with `--region`" in error) == (2, True)
    code, _, error = sluice(home, "pause", MODEL)
    assert (code, "nothing to pause" in error) == (2, True)
    code, out, _ = sluice(home, "history", MODEL)
    assert "release 1 in waves: eu-west, us-east" in out
    assert sluice(home, "history", MODEL, "--region", "eu-west", "-o", "json")[1].strip() == "[]"
