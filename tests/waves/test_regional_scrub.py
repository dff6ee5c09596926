"""`sluice scrub` looks at the copies in every region, each told of in its region's own journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from model_repository.publishing import verify_release
from model_repository.replication import replicate
from pipelines.waves.platforms import RegionPlatform
from registry.signature import VerifyingKey
from tests.cli.program import run
from tests.pipelines.scrub_world import MODEL, ScrubWorld, damage

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.scrubbing import Scrubbed

EU, US = "eu-west", "us-east"
COPIES = f"releases in {EU}"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> ScrubWorld:
    """Release 1 was brought to one region of two."""
    world = ScrubWorld.made(tmp_path_factory.mktemp("scrub") / "template")
    (world.root / "sluice.toml").write_text(f"[regions.{EU}]\n[regions.{US}]\n")
    world = ScrubWorld(world.root)
    region = RegionPlatform(world.platform, EU)
    region.bring(MODEL, 1, lambda: None)
    region.journal.close()
    return world


@pytest.fixture
def world(template: ScrubWorld, tmp_path: Path) -> ScrubWorld:
    return template.copied_to(tmp_path / "workspace")


def region_of(world: ScrubWorld) -> RegionPlatform:
    return RegionPlatform(world.platform, EU)


def copied_file(world: ScrubWorld, pattern: str) -> Path:
    return next(iter(sorted(region_of(world).workspace.root.glob(pattern))))


def kinds(world: ScrubWorld) -> list[str]:
    return [entry.kind for entry in region_of(world).journal.read(MODEL)]


def told(scrubbed: Scrubbed) -> list[tuple[str, str]]:
    return [(one.finding.place, one.outcome) for one in scrubbed.outcomes]


def test_copies_are_hashed_and_a_region_without_any_is_whole(world: ScrubWorld) -> None:
    scrubbed = world.scrub()
    assert scrubbed.whole
    files = {one.place: one.files for one in scrubbed.checked}
    assert files[COPIES] * 2 == files["releases"]
    assert files[f"releases in {US}"] == 0


def test_a_damaged_copy_is_healed_from_the_homes_bytes(world: ScrubWorld) -> None:
    path = copied_file(world, f"repository/{MODEL}*/1/**/decoder.onnx")
    good = path.read_bytes()
    damage(path, at=500)
    scrubbed = world.scrub()
    assert told(scrubbed) == [(COPIES, "healed")]
    assert path.read_bytes() == good
    assert kinds(world) == ["release-replicated", "integrity-broken", "quarantined", "healed"]
    # What was broken and healed there is nothing that the home's journal tells of.
    assert world.entries("integrity-broken") == []
    (affected,) = scrubbed.outcomes[0].affected
    assert affected.releases == (1,)
    assert world.scrub().whole


def test_what_is_too_much_in_a_copy_is_taken_away(world: ScrubWorld) -> None:
    beside = copied_file(world, f"repository/{MODEL}*/1/**/model.py").with_name("sitecustomize.py")
    beside.parent.chmod(0o755)
    beside.write_text("import os")
    assert told(world.scrub()) == [(COPIES, "quarantined")]
    assert not beside.exists()
    workspace = region_of(world).workspace
    verify_release(
        workspace.repository, workspace.releases, MODEL, 1, VerifyingKey.load(world.workspace.keys)
    )


def test_a_lost_record_is_missing_there_and_nowhere_else(world: ScrubWorld) -> None:
    copied_file(world, f"releases/{MODEL}/1.json").unlink()
    assert told(world.scrub()) == [(COPIES, "missing")]
    # Bringing it again is what puts it right, and a scrub then says so.
    region_of(world).bring(MODEL, 1, lambda: None)
    assert world.scrub().whole
    assert kinds(world)[-1] == "healed"


def test_a_copy_that_is_being_brought_is_no_finding(world: ScrubWorld) -> None:
    region, key = region_of(world), VerifyingKey.load(world.workspace.keys)
    replicate(world.workspace, region.workspace, MODEL, 2, key)
    record = region.workspace.releases / MODEL / "2.json"
    content = record.read_bytes()
    record.unlink()
    assert world.scrub().whole
    record.write_bytes(content)
    assert world.scrub().whole


def test_a_region_that_is_cut_off_is_told_and_the_others_are_scrubbed(world: ScrubWorld) -> None:
    # Where the sqlite file should be is a folder, as a server that is away would be no server.
    journal = region_of(world).workspace.root.parent / US / "journal.db"
    journal.unlink(missing_ok=True)
    journal.mkdir(parents=True)
    damage(copied_file(world, f"repository/{MODEL}*/1/**/decoder.onnx"))
    scrubbed = world.scrub()
    assert told(scrubbed) == [(COPIES, "healed")]
    remarks = {one.place: one.remark for one in scrubbed.checked}
    assert remarks[f"releases in {US}"].startswith("cut off: ")
    again = run("scrub", workspace=world.root)
    assert again.returncode == 0, again.stderr
    assert again.stdout.endswith("every byte that was reached is as recorded\n")
