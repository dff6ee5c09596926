"""Two regions on one machine: each its own Envoy and Tritons, one after the other, and back."""

from __future__ import annotations

import threading
from itertools import count
from typing import TYPE_CHECKING, Self

import httpx
import pytest

from canary.plan import RolloutPlan, Step
from infra.local.orphans import find_orphans
from infra.local.region_stack import door_of, down_regions, up_regions
from model_repository.layout import ReleaseLayout
from pipelines.assembly import Platform
from pipelines.verify import OK, verify_models
from pipelines.waves.overview import regions_view
from pipelines.waves.platforms import coordinator, region_platforms
from registry.regions import open_region
from tests.infra.toys import BROKEN, make_workspace, publish, question

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipelines.waves.platforms import RegionPlatform

pytestmark = pytest.mark.engine

MODEL = "speech"
REGIONS = ("eu-west", "us-east")
PLAN = RolloutPlan(
    steps=(Step(weight=50, hold_s=0.5, min_requests=40), Step(weight=100)),
    bake_s=0.5,
    no_traffic_s=20,
    tick_s=0.1,
    waves=REGIONS,
    on_regional_rollback="revert",
)
SETTINGS = "[regions.eu-west]\n[regions.us-east]\n"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Platform]:
    workspace = make_workspace(tmp_path, SETTINGS)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / f"{MODEL}.toml").touch()
    platform = Platform(workspace, actor="test")
    for release in (1, 2):
        publish(workspace, MODEL, release)
        record: dict[str, object] = {"release": release, "artifact": "", "variant": "toy"}
        digests = dict.fromkeys(("variant_digest", "report_digest", "manifest_digest"), "0" * 64)
        platform.append(MODEL, "release-published", record | digests)
    up_regions(workspace)
    try:
        yield platform
    finally:
        down_regions(workspace)
    for name in REGIONS:
        assert find_orphans(open_region(workspace, name).run) == ()


class Callers:
    """People of each region, who ask without end; in `unhappy` regions release 2 fails them."""

    def __init__(self, regions: dict[str, RegionPlatform]) -> None:
        self.doors = {name: door_of(one.region) for name, one in regions.items()}
        self.over = threading.Event()
        self.unhappy: set[str] = set()
        self.failed: list[tuple[str, int, int]] = []
        self.threads = [threading.Thread(target=self.ask, args=(name,)) for name in self.doors]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def ask(self, name: str) -> None:
        url = f"http://{self.doors[name]}/v2/models/{MODEL}/infer"
        with httpx.Client(trust_env=False, timeout=30) as client:
            for number in count():
                if self.over.wait(0.005):
                    return
                session = {"x-session-id": f"{name}-{number}"}
                answer = client.post(url, json=question(), headers=session)
                release = int(answer.headers.get("x-sluice-release", 0))
                if release == 2 and name in self.unhappy:
                    # The same session stays with the release that it met.
                    client.post(url, json=question(outcome=BROKEN), headers=session)
                if answer.status_code != httpx.codes.OK:
                    self.failed.append((name, release, answer.status_code))


def live(regions: dict[str, RegionPlatform]) -> dict[str, int | None]:
    return {name: one.serving(MODEL).live for name, one in regions.items()}


def test_two_regions_in_waves_and_back(home: Platform) -> None:
    regions = region_platforms(home)
    waves = coordinator(home, tracked=False)
    first = waves.promote(MODEL, 1, PLAN)
    assert (first.outcome, live(regions)) == ("settled", dict.fromkeys(REGIONS, 1))
    with Callers(regions) as callers:
        callers.unhappy.add("us-east")
        turned = waves.promote(MODEL, 2, PLAN)
    assert turned.outcome == "reverted", turned.reason
    assert "us-east: more errors" in turned.reason
    assert live(regions) == dict.fromkeys(REGIONS, 1)
    # Nobody met an error but those who asked for one.
    assert callers.failed == []
    kinds = [(one.kind, one.body.get("region")) for one in home.journal.read(MODEL)]
    second = kinds[kinds.index(("waves-ended", None)) :]
    told = [one for one in second if one[0].startswith("wave-") and "effect" not in one[0]]
    assert told == [
        ("wave-begun", "eu-west"),
        ("wave-settled", "eu-west"),
        ("wave-begun", "us-east"),
        ("wave-turned-back", "us-east"),
        ("wave-reverted", "eu-west"),
    ]
    for name, region in regions.items():
        route = region.router.read(MODEL)
        assert route is not None
        assert route.weight_of(1) == 100
        assert ReleaseLayout(region.workspace.repository, MODEL, 2).folder.is_dir(), name
        assert region.journal.verify(MODEL) > 0
    rows, _ = regions_view(home, MODEL)
    assert [(row["region"], row["standing"], row["live"], row["route"]) for row in rows] == [
        ("eu-west", "reverted", 1, "1:100%"),
        ("us-east", "turned-back", 1, "1:100%"),
    ]
    found = [one for one in verify_models(home, [MODEL]).links if one.of.endswith("us-east")]
    held = {one.link: one.detail for one in found if one.state == OK}
    assert held["revision"] == "ready, version and golden answers are the gate's"
    assert held["route"] == "100 % to release 1"
