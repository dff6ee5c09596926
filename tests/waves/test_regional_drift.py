"""Drift in one region: its own log and journal, its own case; the others hear nothing of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from drift.record_places import LocalPlace
from pipelines.drift_cases import state_of
from pipelines.metrics import PlatformCollector
from pipelines.notifications import message
from pipelines.prediction_log_places import log_places
from pipelines.waves.platforms import RegionPlatform, platform_at
from registry.errors import UserError
from registry.workspace import Workspace
from tests.cli.program import run
from tests.pipelines.drift_world import MODEL, Month, empty_month

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.assembly import Platform

EU, US = "eu-west", "us-east"
SETTINGS = f'[records]\narchive = "{{archive}}"\n[regions.{EU}]\n[regions.{US}]\n'
QUIET_DAYS = 17
"""As in the tests of cases: enough to know what days differ by."""


@dataclass
class RegionalMonth(Month):
    """A month of one region."""

    name: str = EU

    @property
    def platform(self) -> Platform:
        return platform_at(self.workspace.home, self.name, actor="ann")  # type: ignore[attr-defined]  # of a region


def month_of(home: Workspace, name: str) -> RegionalMonth:
    region = platform_at(home, name).workspace
    return RegionalMonth(region, name=name)


def home_in(folder: Path) -> Workspace:
    root = folder / "home"
    root.mkdir()
    empty_month(root)
    (root / "sluice.toml").write_text(SETTINGS.format(archive=folder / "archive"))
    return Workspace(root)


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return home_in(tmp_path)


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One region is calm until it alarms; the other has four calm days."""
    home = home_in(tmp_path_factory.mktemp("drifted"))
    eu, us = month_of(home, EU), month_of(home, US)
    assert "alarm" not in eu.pass_days(QUIET_DAYS)
    assert "alarm" not in us.pass_days(4)
    eu.record(louder=0.06)
    seen = eu.look()
    assert seen.check.verdict == "alarm"
    assert seen.folder.is_relative_to(eu.workspace.root)
    return home


def test_a_case_of_one_region_is_that_regions_alone(drifted: Workspace) -> None:
    platforms = {name: platform_at(drifted, name, actor="ann") for name in (EU, US, "")}
    cases = {name: state_of(one, MODEL).case for name, one in platforms.items()}
    assert cases[EU] is not None
    assert (cases[US], cases[""]) == (None, None)
    alarm = next(one for one in platforms[EU].journal.read(MODEL) if one.kind == "alarm-raised")
    told = json.loads(message(alarm, "drift-alarm", {}, EU))
    assert told["data"]["region"] == EU
    assert told["data"]["text"].startswith(f"{MODEL} in {EU}: ")


def test_the_commands_speak_of_the_region_that_is_named(drifted: Workspace) -> None:
    def told(*words: str) -> Any:
        ran = run(*words, "--output", "json", workspace=drifted.root)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    assert told("drift", "show", MODEL, "--region", EU)["case"]["number"] == 1
    assert told("drift", "ack", MODEL, "--region", EU)["case"]["acknowledged_by"]
    held = told("log", "status", MODEL, "--region", EU)["held"]
    assert sum(row["records"] for row in held) == 400 * (QUIET_DAYS + 1)
    metrics = told("metrics", "--region", EU)["metrics"]
    assert [one for one in metrics if one["name"] == "sluice_drift_case_open"]
    assert told("drift", "show", MODEL)["case"] is None
    wrong = run("drift", "show", MODEL, "--region", "mars", workspace=drifted.root)
    assert wrong.returncode == 2
    assert "there is no region 'mars'" in wrong.stderr


def test_a_release_that_was_brought_counts_as_published_there(home: Workspace) -> None:
    region = platform_at(home, EU, actor="ann")
    digests = ("variant_digest", "artifact", "manifest_digest", "report_digest")
    body: dict[str, Any] = dict.fromkeys(digests, "a" * 64) | {"variant": "v", "release": 3}
    region.append(MODEL, "release-replicated", body)
    assert list(region.catalog(MODEL).releases) == [3]
    values = {
        one.name: one.samples[0].value for one in PlatformCollector(region).collect() if one.samples
    }
    assert values["sluice_releases"] == 1
    # At home nobody becomes a publisher by it.
    at_home = platform_at(home, actor="ann")
    at_home.append(MODEL, "release-replicated", body)
    assert list(at_home.catalog(MODEL).releases) == []


def test_regions_do_not_share_an_archive(home: Workspace) -> None:
    places = [log_places(platform_at(home, name).workspace)[1] for name in (EU, US, "")]
    assert all(isinstance(place, LocalPlace) for place in places)
    assert len({place.name for place in places}) == 3
    assert places[0].name.endswith(f"/archive/regions/{EU}")


def test_a_pages_place_in_the_registry_names_the_region(
    home: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    region = platform_at(home, EU, actor="ann")
    assert isinstance(region, RegionPlatform)
    region.home.append(
        MODEL,
        "artifact-registered",
        {"digest": "a" * 64, "version": "1", "run_id": "f00d", "kind": "whisper"},
    )
    kept: list[tuple[str, Path, str]] = []

    class Registry:
        def log_files(self, run: str, folder: Path, name: str) -> None:
            kept.append((run, folder, name))

    monkeypatch.setitem(region.home.__dict__, "tracking", Registry())
    told = region.keep_files(MODEL, "a" * 64, tmp_path, "drift/release-1")
    assert kept == [("f00d", tmp_path, f"{EU}/drift/release-1")]
    assert told == f"run f00d, {EU}/drift/release-1"


def test_an_unknown_region_is_refused(home: Workspace) -> None:
    with pytest.raises(UserError, match="there is no region 'mars'"):
        platform_at(home, "mars")
