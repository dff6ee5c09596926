"""What `sluice status NAME` shows of regions: each one's word by its own journal, and its wave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canary.fold import fold
from canary.waves import fold_waves
from registry.errors import EngineError
from registry.regions import region_names

if TYPE_CHECKING:
    from canary.states import ModelServing
    from canary.waves_states import ModelWaves
    from pipelines.assembly import Platform
    from pipelines.waves.platforms import RegionPlatform


def region_rows(home: Platform, model: str) -> list[dict[str, Any]]:
    """One row for each region; empty, at no cost, where the workspace has none."""
    if not region_names(home.workspace):
        return []
    from pipelines.waves.platforms import region_platforms

    state = fold_waves(home.journal.read(model), model=model)
    platforms = region_platforms(home)
    order = [name for name in state.order if name in platforms]
    names = [*order, *(name for name in platforms if name not in order)]
    return [_row(platforms[name], model, state) for name in names]


def _row(platform: RegionPlatform, model: str, state: ModelWaves) -> dict[str, Any]:
    from infra.local.region_stack import door_of

    name, serving, trouble = platform.name, None, ""
    try:
        serving = fold(platform.journal.read(model), model=model)
        door = door_of(platform.region)
    except EngineError as error:
        door, trouble = "cut off", str(error)
    return {
        "region": name,
        "wave": state.order.index(name) + 1 if name in state.order else None,
        "standing": _standing(state, name),
        **_served(serving),
        "door": door,
        "reason": trouble or _reason(state, name),
    }


def _served(serving: ModelServing | None) -> dict[str, Any]:
    rollout = None if serving is None else serving.rollout
    return {
        "live": None if serving is None else serving.live,
        "route": " ".join(
            f"{share.release}:{share.weight}%" for share in (serving and serving.route) or ()
        ),
        "rollout": None if rollout is None else f"{rollout.candidate} {rollout.phase}",
    }


def _standing(state: ModelWaves, name: str) -> str:
    if name in state.owed:
        return f"owed {state.owed[name]}"
    latest = state.waves or (state.history[-1] if state.history else None)
    found = [one for one in (latest.regions if latest else ()) if one.name == name]
    if not found:
        return ""
    return "cut off" if found[0].cut_off_since is not None else found[0].standing.value


def _reason(state: ModelWaves, name: str) -> str:
    region = None if state.waves is None else state.waves.of(name)
    return "" if region is None else region.trouble or region.why


def waves_line(home: Platform, model: str) -> str:
    """What the waves do now, in a sentence; empty when none are under way."""
    if not region_names(home.workspace):
        return ""
    state = fold_waves(home.journal.read(model), model=model)
    waves = state.waves
    if waves is None:
        return ""
    because = f": {waves.why}" if waves.why else ""
    return f"release {waves.candidate} in waves, {waves.course}{because}"
