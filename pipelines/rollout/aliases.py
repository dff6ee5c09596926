"""MLflow's aliases follow the traffic: last, and never in its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.assembly import Platform


def alias_writer(platform: Platform) -> Callable[[str, str, int], None]:
    """A function (model, alias, release) that points the alias at the release's artifact."""

    def write(model: str, alias: str, release: int) -> None:
        catalog = platform.catalog(model)
        artifact = catalog.artifacts[catalog.releases[release].artifact]
        platform.tracking.set_alias(model, alias, artifact.version)
        platform.tracking.tag(model, artifact.version, {f"release.{release}": alias})

    return write
