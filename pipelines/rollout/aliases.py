"""MLflow's aliases and the serving pointer follow the traffic: last, and never in its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary.effects import PRODUCTION
from pipelines.serving_pointer import point_to

if TYPE_CHECKING:
    from pipelines.assembly import Platform


def write_alias(platform: Platform, model: str, alias: str, release: int) -> None:
    """Point the alias at the release's artifact, the signed serving pointer before MLflow's."""
    if alias == PRODUCTION:
        point_to(platform, model, release)
    write_tracked_alias(platform, model, release, alias=alias)


def write_tracked_alias(platform: Platform, model: str, release: int, *, alias: str) -> None:
    """Point MLflow's alias at the release's artifact. Raises EngineError when MLflow refuses."""
    catalog = platform.catalog(model)
    artifact = catalog.artifacts[catalog.require_release(model, release).artifact]
    platform.tracking.set_alias(model, alias, artifact.version)
    platform.tracking.tag(model, artifact.version, {f"release.{release}": alias})
