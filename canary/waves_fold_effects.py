"""How effects change what is known of the regions: started, confirmed by looking, or failed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from canary.waves_effects import NumberedWaveEffect, Verb, WaveEffect
from canary.waves_states import Course, Standing
from registry.journal_fold import illegal, require

if TYPE_CHECKING:
    from canary.waves_states import ModelWaves, RegionState, Waves
    from registry.journal import Entry


def under_way(state: ModelWaves, entry: Entry) -> Waves:
    """The waves that the entry must belong to."""
    if state.waves is None:
        raise illegal(entry, "belongs to no waves")
    return state.waves


def current(state: ModelWaves, entry: Entry) -> tuple[Waves, RegionState]:
    """The waves, and the region that the entry names."""
    waves = under_way(state, entry)
    region = waves.of(entry.body["region"])
    if region is None:
        raise illegal(entry, f"names {entry.body['region']}, no region of these waves")
    return waves, region


def changed(state: ModelWaves, region: RegionState) -> ModelWaves:
    """With the region's new state."""
    waves = state.waves
    return state if waves is None else replace(state, waves=waves.with_region(region))


def started(state: ModelWaves, entry: Entry) -> ModelWaves:
    """An effect is about to be done: from now on it may have been."""
    numbered = NumberedWaveEffect.from_json(entry.body)
    repeated = state.pending == numbered
    require(repeated or numbered.number == state.effects + 1, entry, "skips an effect's number")
    require(_legal(state, numbered.effect), entry, f"does {numbered.effect.verb} out of turn")
    return replace(state, pending=numbered, effects=numbered.number)


def _legal(state: ModelWaves, effect: WaveEffect) -> bool:
    """Whether the state has a reason for the effect."""
    if effect.verb is Verb.GO_BACK and state.owed.get(effect.region) == effect.release:
        return True
    waves = state.waves
    if waves is None or waves.course is Course.PAUSED:
        return False
    if effect.verb is Verb.ALIAS:
        return not waves.to_send_back
    region = waves.of(effect.region)
    return region is not None and _legal_there(waves, region, effect)


def _legal_there(waves: Waves, region: RegionState, effect: WaveEffect) -> bool:
    if effect.verb is Verb.GO_BACK:
        return region.baseline == effect.release and region in waves.to_send_back
    if effect.verb is Verb.GO_ON:
        return region.standing in (Standing.BEGUN, Standing.SETTLED)
    wanted = Standing.WAITING if effect.verb is Verb.REPLICATE else Standing.BEGUN
    ours = effect.release == waves.candidate and region == waves.current
    return ours and waves.course is Course.FORWARD and region.standing is wanted


def confirmed(state: ModelWaves, entry: Entry) -> ModelWaves:
    """Looking showed that an effect is done. What a region's rollout came to, a look tells."""
    effect = _finished(state, entry)
    state = replace(state, pending=None)
    waves = state.waves
    if waves is None:
        return state
    if effect.verb is Verb.ALIAS:
        return replace(state, waves=replace(waves, aliased=True))
    region = waves.of(effect.region)
    if region is not None and effect.verb is Verb.REPLICATE:
        return changed(state, replace(region, replicated=True))
    if region is not None and effect.verb is Verb.GO_ON:
        return changed(state, replace(region, goes_on=False))
    return state


def failed(state: ModelWaves, entry: Entry) -> ModelWaves:
    """An effect was given up; whether anything of it happened, a look tells."""
    effect, reason = _finished(state, entry), entry.body["reason"]
    state = replace(state, pending=None)
    waves = state.waves
    if waves is None:
        return replace(state, given_up=state.given_up | {effect.region})
    if effect.verb is Verb.ALIAS:
        # Bookkeeping is never in the way.
        return replace(state, waves=replace(waves, aliased=True))
    region = waves.of(effect.region)
    return state if region is None else changed(state, replace(region, trouble=reason))


def _finished(state: ModelWaves, entry: Entry) -> WaveEffect:
    pending = state.pending
    if pending is None or pending.number != entry.body["effect"]:
        raise illegal(entry, f"finishes effect {entry.body['effect']}, which was not started")
    return pending.effect
