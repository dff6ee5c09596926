"""The composition root of regions: one platform for each, and the coordinator over them.

A region's journal and engines are its own. Who acts, who may, keys and policies are the home's.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from canary.effects import PRODUCTION
from model_repository.replication import replicate
from pipelines.assembly import Platform
from pipelines.rollout.aliases import write_tracked_alias
from pipelines.serving_pointer import point_to
from pipelines.waves.coordinator import DEFAULT_TTL_S, Coordinator
from pipelines.waves.driving import Home
from pipelines.waves.region import Pulse, Region
from pipelines.waves.region_guard import RegionGuard
from registry.regions import open_region, region_names
from registry.signature import VerifyingKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry.catalog import Catalog
    from registry.guard import AccessGuard
    from registry.identity import Identity
    from registry.journal import Entry, Journal
    from registry.workspace import Workspace

REPLICATED = "release-replicated"
"""In a region's journal: the release's record, as the home published it."""


class RegionPlatform(Platform):
    """The engines of one region."""

    def __init__(self, home: Platform, name: str) -> None:
        self.region = open_region(home.workspace, name)
        super().__init__(self.region, actor=home.actor)
        self.home = home
        self.name = name

    @cached_property
    def identity(self) -> Identity:
        """The home's."""
        return self.home.identity

    @cached_property
    def guard(self) -> AccessGuard:
        """The home's policy; approvals are looked up in the home's journal."""
        return RegionGuard(self.home)

    @cached_property
    def journal(self) -> Journal:
        """The region's own. Its folder is made where it is missing."""
        self.workspace.state.mkdir(parents=True, exist_ok=True)
        return super().journal

    def catalog(self, model: str) -> Catalog:
        """The releases that were brought here: known without the home."""
        from registry.catalog import Catalog

        entries = self.journal.read(model, kinds={REPLICATED})
        return Catalog.fold(self.counted(entry) for entry in entries)

    def counted(self, entry: Entry) -> Entry:
        """A release that was brought here counts as published."""
        return replace(entry, kind="release-published") if entry.kind == REPLICATED else entry

    def keep_files(self, model: str, artifact: str, folder: Path, name: str) -> str:
        """With the home's run of the artifact, below the region's name."""
        return self.home.keep_files(model, artifact, folder, f"{self.name}/{name}")

    def tell(self, line: str) -> None:
        """Show it under the region's name."""
        super().tell(f"{self.name}: {line}")

    def set_alias(self, model: str, alias: str, release: int) -> None:
        """The region's serving pointer follows its traffic; MLflow's aliases are the home's."""
        if alias == PRODUCTION:
            point_to(self, model, release)

    def bring(self, model: str, release: int, on_block: Callable[[], None]) -> dict[str, Any]:
        """Replicate the release from the home, verify it, and journal its record here.

        Raises IntegrityError when the copy is not what was signed.
        """
        key = VerifyingKey.load(self.workspace.keys)
        manifest = replicate(
            self.home.workspace, self.workspace, model, release, key, on_block=on_block
        )
        if release not in self.catalog(model).releases:
            record = self.home.catalog(model).require_release(model, release).body
            self.append(model, REPLICATED, dict(record))
        return {
            "manifest_digest": manifest.digest,
            "files": len(manifest.files),
            "bytes": sum(file.size for file in manifest.files),
        }

    def reach(self, model: str) -> None:
        """Raise EngineError unless the region's router answers."""
        self.router.read(model)

    def is_driven(self, model: str) -> bool:
        """Whether another controller that may live holds the model's lease here."""
        from pipelines.rollout.holders import holder_name, is_dead

        lease = self.leases.current(model)
        if lease is None or lease.expires_at <= time.time() or is_dead(lease):
            return False
        return lease.holder != holder_name(self.actor)


def platform_at(workspace: Workspace, region: str = "", *, actor: str = "") -> Platform:
    """The engines of the workspace, or of one of its regions. Raises UserError for an unknown one.

    For commands and flows, whose arguments are plain values.
    """
    home = Platform(workspace, actor=actor)
    return RegionPlatform(home, region) if region else home


def region_of(platform: RegionPlatform, pulse: Pulse) -> Region:
    """The region as a coordinator uses it."""
    return Region(
        platform.name,
        opens=partial(platform.controller, sleep=pulse.sleep),
        reach=platform.reach,
        bring=partial(platform.bring, on_block=pulse.tick),
        driven=platform.is_driven,
        orphaned=platform.lease_is_orphaned,
    )


def region_platforms(home: Platform) -> dict[str, RegionPlatform]:
    """A platform for each region of the workspace, in the order of `sluice.toml`."""
    return {name: RegionPlatform(home, name) for name in region_names(home.workspace)}


def coordinator(home: Platform, *, tracked: bool = True) -> Coordinator:
    """The one that drives waves. With `tracked`, MLflow's production alias follows them."""
    from pipelines.rollout.holders import holder_name
    from pipelines.stages import announce

    pulse = Pulse(time.sleep)
    regions = {
        name: region_of(platform, pulse) for name, platform in region_platforms(home).items()
    }
    outfit = Home(
        journal=home.journal,
        leases=home.leases,
        regions=regions,
        pulse=pulse,
        clock=time.time,
        actor=home.actor,
        ttl_s=DEFAULT_TTL_S,
        on_event=announce,
        aliases=partial(write_tracked_alias, home, alias=PRODUCTION) if tracked else None,
    )
    return Coordinator(outfit, holder=holder_name(home.actor))
