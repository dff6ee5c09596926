"""The front doors of the regions that this machine serves: brought up and taken down with the rest.

A region in a cluster has its own; nothing is started for it here.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from infra.local.stack import down, front_door, require_up, up
from registry.errors import PermanentEngineError
from registry.regions import open_region, region_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry.regions import RegionWorkspace
    from registry.workspace import Workspace


def up_regions(home: Workspace, progress: Callable[[str], None] = lambda _: None) -> dict[str, str]:
    """Start each region's front door and revisions; `host:port` of each door by region.

    Raises as `infra.local.stack.up` does.
    """
    found = {}
    for region in _here(home):
        up(region, doors_only=True, progress=partial(_told, progress, region.name))
        found[region.name] = front_door(region) or ""
    return found


def down_regions(home: Workspace) -> None:
    """Stop everything of every region that runs on this machine."""
    for region in _here(home):
        down(region)


def door_of(region: RegionWorkspace) -> str:
    """`host:port` of its front door; why not, when it does not answer; empty in a cluster."""
    if region.platform != "local":
        return ""
    try:
        require_up(region)
    except PermanentEngineError:
        return "not up"
    return front_door(region) or ""


def _told(progress: Callable[[str], None], name: str, line: str) -> None:
    progress(f"{name}: {line}")


def _here(home: Workspace) -> list[RegionWorkspace]:
    regions = (open_region(home, name) for name in region_names(home))
    return [region for region in regions if region.platform == "local"]
