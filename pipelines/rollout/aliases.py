"""MLflow's aliases and the serving pointer follow the traffic: last, and never in its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary.effects import PRODUCTION
from pipelines.serving_pointer import point_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.assembly import Platform


def alias_writer(platform: Platform) -> Callable[[str, str, int], None]:
    """A function (model, alias, release) that points the alias at the release's artifact.

    The serving pointer, which is signed, comes before MLflow's.
    """

    def write(model: str, alias: str, release: int) -> None:
        if alias == PRODUCTION:
            point_to(platform, model, release)
        catalog = platform.catalog(model)
        artifact = catalog.artifacts[catalog.releases[release].artifact]
        platform.tracking.set_alias(model, alias, artifact.version)
        platform.tracking.tag(model, artifact.version, {f"release.{release}": alias})

    return write
