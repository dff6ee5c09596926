"""What `sluice status NAME` shows of regions: each one's word by its own journal, and its wave."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from canary.waves import fold_waves
from pipelines.waves.sight import PATIENCE_S, at_once
from registry.errors import EngineError
from registry.regions import region_names

if TYPE_CHECKING:
    from canary.states import ModelServing
    from canary.waves_states import ModelWaves
    from pipelines.assembly import Platform
    from pipelines.waves.platforms import RegionPlatform


def regions_view(home: Platform, model: str) -> tuple[list[dict[str, Any]], str]:
    """One row for each region, and what the waves do now, in a sentence; empty without regions.

    Regions are asked at once, and none is waited for long. Without regions this costs nothing.
    """
    if not region_names(home.workspace):
        return [], ""
    from pipelines.waves.platforms import region_platforms

    state = fold_waves(home.journal.read(model), model=model)
    platforms = region_platforms(home)
    order = [name for name in state.order if name in platforms]
    names = [*order, *(name for name in platforms if name not in order)]
    asked = at_once({name: partial(_asked, platforms[name], model) for name in names}, PATIENCE_S)
    late = _Asked(None, "cut off", f"no answer within {PATIENCE_S:g} s")
    return [
        _row(name, one.result() if one.done() else late, state) for name, one in asked.items()
    ], _line(state)


class _Asked(NamedTuple):
    """What a region said: its traffic, its door, and why it could not be asked."""

    serving: ModelServing | None
    door: str
    trouble: str


def _asked(platform: RegionPlatform, model: str) -> _Asked:
    from infra.local.region_stack import door_of
    from pipelines.model_states import read_states

    try:
        states = read_states(platform.journal, [model])
        return _Asked(states[model].serving, door_of(platform.region), "")
    except EngineError as error:
        return _Asked(None, "cut off", str(error))


def _row(name: str, asked: _Asked, state: ModelWaves) -> dict[str, Any]:
    return {
        "region": name,
        "wave": state.order.index(name) + 1 if name in state.order else None,
        "standing": _standing(state, name),
        **_served(asked.serving),
        "door": asked.door,
        "reason": asked.trouble or _reason(state, name),
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


def _line(state: ModelWaves) -> str:
    waves = state.waves
    if waves is None:
        return ""
    because = f": {waves.why}" if waves.why else ""
    return f"release {waves.candidate} in waves, {waves.course}{because}"
