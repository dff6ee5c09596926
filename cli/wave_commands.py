"""What commands that move traffic do where a model is rolled out in waves, or in one region."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import print_pairs, print_table
from cli.session import find_workspace, open_platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.assembly import Platform
    from pipelines.waves.coordinator import Coordinator

RegionOption = Annotated[
    str, typer.Option("--region", metavar="REGION", help="In this region only.")
]

EXIT_CODES = {"settled": 0, "idle": 0, "under-way": 0, "stopped": 1, "reverted": 1, "paused": 3}


def placed_platform(region: str = "") -> Platform:
    """The engines of the workspace, or of one region. Raises UserError for an unknown one."""
    if not region:
        return open_platform()
    from pipelines.waves.platforms import platform_at

    return platform_at(find_workspace(), region)


def acting_platform(model: str, region: str = "") -> Platform:
    """As `placed_platform`. Raises UserError for an unknown model too."""
    platform = placed_platform(region)
    platform.workspace.require_model(model)
    return platform


def waves_of(platform: Platform, model: str) -> Coordinator | None:
    """The coordinator of a model that went out in waves; None where the workspace serves it."""
    from registry.regions import RegionWorkspace, region_names

    if isinstance(platform.workspace, RegionWorkspace) or not region_names(platform.workspace):
        return None
    from pipelines.waves.platforms import coordinator

    one = coordinator(platform)
    return one if one.state(model).order else None


def platform_under_way(platform: Platform, model: str) -> Platform:
    """Of the region whose rollout the waves wait for; without waves, the platform itself.

    Raises UserError when no region's wave is under way.
    """
    from registry.errors import UserError

    one = waves_of(platform, model)
    if one is None:
        return platform
    current = one.region_under_way(model)
    if current is None:
        raise UserError("no region's wave is under way", where=model)
    from pipelines.waves.platforms import RegionPlatform

    return RegionPlatform(platform, current.name)


def show_waves(result: Mapping[str, Any]) -> None:
    """How waves went, for people."""
    print_pairs(
        [
            ("model", result["model"]),
            ("release", result["candidate"]),
            ("outcome", result["outcome"]),
            ("reason", result["reason"]),
        ]
    )
    print_table(
        ["region", "standing", "goes back to", "why"],
        [
            [one["region"], one["standing"], one["baseline"] or "-", one["reason"] or "-"]
            for one in result["regions"]
        ],
    )


def show_regions(rows: list[dict[str, Any]]) -> None:
    """The regions of one model, one a line."""
    if not rows:
        return
    names = ("region", "wave", "standing", "live", "route", "rollout", "door")
    print_table(names, [[row[name] or "-" for name in names] for row in rows])
    for row in rows:
        if row["reason"]:
            typer.echo(f"{row['region']}: {row['reason']}")
