"""`sluice verify` walks on into the regions: their journals, their copies, what runs there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from pipelines.assembly import Platform
from pipelines.verify import BROKEN, DOWN, OK, verify_models
from pipelines.waves.platforms import RegionPlatform
from registry.workspace import Workspace
from tests.pipelines.test_verify import MODEL, Place, built, flip, place  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EU = "eu-west"


@pytest.fixture
def home(place: Place) -> Platform:  # noqa: F811 - a fixture
    """Release 1 serves at home, and was brought to one region of two."""
    (place.root / "sluice.toml").write_text("[regions.eu-west]\n[regions.us-east]\n")
    platform = Platform(Workspace(place.root), actor="ann")
    made = place.platform.__dict__
    platform.__dict__ |= {name: made[name] for name in ("journal", "fleet", "router")}
    RegionPlatform(platform, EU).bring(MODEL, 1, lambda: None)
    return platform


def links(home: Platform, region: str, **named: Any) -> list[tuple[str, str, str]]:
    """Link, state and detail of what was looked at in the region."""
    found = verify_models(home, [MODEL], **named).links
    return [(one.link, one.state, one.detail) for one in found if one.of.endswith(f"in {region}")]


def one_file(home: Platform, region: str, pattern: str) -> Path:
    path = next(iter(sorted(RegionPlatform(home, region).workspace.root.glob(pattern))))
    path.chmod(0o644)
    return path


def test_what_is_a_regions_own_is_looked_at_there(home: Platform) -> None:
    assert verify_models(home, [MODEL]).first_break is None
    found = links(home, EU)
    assert [name for name, _, _ in found] == ["journal", "release", "bytes", "revision", "route"]
    assert [state for _, state, _ in found] == [OK, OK, OK, DOWN, DOWN]
    assert found[0][2] == "holds 1 entries"
    assert links(home, "us-east") == [("journal", DOWN, "nothing was brought there")]
    assert [name for name, _, _ in links(home, EU, release=1)] == [name for name, _, _ in found]


def of_bytes(home: Platform) -> None:
    flip(one_file(home, EU, f"repository/{MODEL}*/1/**/model.py"))


def of_extra_file(home: Platform) -> None:
    beside = one_file(home, EU, f"repository/{MODEL}*/1/**/model.py")
    beside.with_name("sitecustomize.py").write_bytes(b"import os")


def of_record(home: Platform) -> None:
    flip(one_file(home, EU, f"releases/{MODEL}/1.json"))


def of_journal(home: Platform) -> None:
    with RegionPlatform(home, EU).journal.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER journal_refuses_update"))
        connection.execute(text("UPDATE journal SET actor = 'eve'"))


@pytest.mark.parametrize(
    ("link", "damage"),
    [
        ("bytes", of_bytes),
        ("bytes", of_extra_file),
        ("release", of_record),
        ("journal", of_journal),
    ],
)
def test_damage_in_one_region_is_found_and_named(
    home: Platform, link: str, damage: Callable[[Platform], None]
) -> None:
    damage(home)
    broken = verify_models(home, [MODEL]).first_break
    assert broken is not None
    assert (broken.link, broken.state) == (link, BROKEN)
    assert broken.of.endswith(f"in {EU}")


def test_a_record_that_the_home_never_published_is_not_one(home: Platform) -> None:
    region = RegionPlatform(home, EU)
    (entry,) = region.journal.read(MODEL)
    region.append(MODEL, entry.kind, {**entry.body, "manifest_digest": "ab" * 32})
    broken = verify_models(home, [MODEL]).first_break
    assert broken is not None
    assert broken.link == "release"
    assert broken.detail.startswith("it is not the release that the home published")


def test_a_region_that_is_cut_off_breaks_nothing(home: Platform) -> None:
    # Where the sqlite file should be is a folder, as a server that is away would be no server.
    (home.workspace.state / "regions" / "us-east" / "journal.db").mkdir(parents=True)
    assert verify_models(home, [MODEL]).first_break is None
    ((link, state, why),) = links(home, "us-east")
    assert (link, state) == ("journal", DOWN)
    assert why != "nothing was brought there"
