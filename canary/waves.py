"""A rollout in waves as a pure state machine: which region is next, and what is done there.

    state = fold_waves(journal.read(model))         what is so
    action = next_wave_action(state, seen, now)     what to do next

Each region runs the rollout of `canary.rollout` on a journal of its own; here only their order is
decided. The next wave begins only after the one before it settled. A region that cannot be reached
has neither settled nor failed: it is waited for, then the waves pause.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from canary.waves_effects import (
    NumberedWaveEffect,
    PerformWave,
    RecordWave,
    Verb,
    WaitForRegion,
    WaveAction,
    WaveEffect,
    WavesDone,
)
from canary.waves_fold import advance_waves, fold_waves
from canary.waves_noticing import noticed
from canary.waves_states import Course, ModelWaves, RegionState, Seen, Standing, Waves, WavesOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ModelWaves", "Seen", "advance_waves", "fold_waves", "next_wave_action"]


def next_wave_action(state: ModelWaves, seen: Mapping[str, Seen], now: float) -> WaveAction:
    """What to do at `now` (UTC epoch seconds). `seen` holds every region of `state`.

    Pure: the same state and sight give the same action.
    """
    waves = state.waves
    if waves is None:
        return _pay(state, seen)
    for region in waves.regions:
        news = noticed(waves, region, seen[region.name])
        if news is not None:
            return news
    if waves.course is Course.PAUSED:
        return WavesDone(WavesOutcome.PAUSED, waves.why)
    if waves.course is Course.FORWARD:
        return _forward(state, waves, seen, now)
    return _back(state, waves, seen, now)


def _forward(state: ModelWaves, waves: Waves, seen: Mapping[str, Seen], now: float) -> WaveAction:
    turned = next((one for one in waves.regions if one.standing is Standing.TURNED_BACK), None)
    if turned is not None:
        return _turn(waves, turned)
    for region in waves.regions:
        if region.standing is Standing.SETTLED and region.goes_on:
            # It came back, perhaps without what ran there.
            if region.trouble:
                return _pause(f"{region.name}: {region.trouble}")
            if not seen[region.name].driven:
                return _perform(state, Verb.GO_ON, region.name, waves.candidate)
    current = waves.current
    if current is None:
        reason = f"release {waves.candidate} serves in {', '.join(state.order)}"
        return _end(state, waves, WavesOutcome.SETTLED, reason)
    until = current.waited_from + waves.plan.cut_off_patience_s
    if current.cut_off_since is not None and now < until:
        return WaitForRegion(current.name, until)
    return _bring_on(state, waves, current, seen[current.name])


def _turn(waves: Waves, turned: RegionState) -> RecordWave:
    """What one region's rollback means for the others."""
    body = {"region": turned.name, "reason": f"{turned.name}: {turned.why}"}
    if waves.reverts:
        return RecordWave("waves-reverting", body)
    return RecordWave("waves-stopped", body)


def _bring_on(state: ModelWaves, waves: Waves, region: RegionState, seen: Seen) -> WaveAction:
    """The current wave, one step further."""
    if hindrance := _hindrance(waves, region, seen):
        return _pause(f"{region.name}: {hindrance}")
    if region.standing is Standing.WAITING:
        return _prepare(state, waves, region, seen)
    if seen.driven:
        return WaitForRegion(region.name, inf)
    verb = Verb.BEGIN if seen.rolling is None else Verb.GO_ON
    return _perform(state, verb, region.name, waves.candidate)


def _hindrance(waves: Waves, region: RegionState, seen: Seen) -> str:
    """Why only a person can let the wave go on; empty when it can."""
    if region.cut_off_since is not None:
        return f"cut off, and waited for during {waves.plan.cut_off_patience_s / 60:g} minutes"
    if region.trouble or seen.rolling is None:
        return region.trouble
    if seen.rolling != waves.candidate:
        return f"release {seen.rolling} is rolled out there by somebody else's word"
    return (seen.why or str(seen.phase)) if seen.stands and not region.goes_on else ""


def _prepare(state: ModelWaves, waves: Waves, region: RegionState, seen: Seen) -> WaveAction:
    """What must be so before the wave begins: nothing owed, nothing under way, a verified copy."""
    owed = state.owed.get(region.name)
    if owed is not None:
        return _pay_one(state, region.name, owed, seen)
    if not region.replicated:
        return _perform(state, Verb.REPLICATE, region.name, waves.candidate)
    baseline = None if seen.live == waves.candidate else seen.live
    body = {"region": region.name, "baseline": baseline, "rollout": seen.next_rollout}
    return RecordWave("wave-begun", body)


def _back(state: ModelWaves, waves: Waves, seen: Mapping[str, Seen], now: float) -> WaveAction:
    """Send back what is reached; wait for the rest, then leave it owed."""
    left = (*waves.to_send_back, *waves.to_finish)
    for region in left:
        if region.cut_off_since is not None or region.trouble:
            continue
        if region.baseline is not None:
            return _perform(state, Verb.GO_BACK, region.name, region.baseline)
        if seen[region.name].driven:
            return WaitForRegion(region.name, inf)
        if not seen[region.name].stands or region.goes_on:
            return _perform(state, Verb.GO_ON, region.name, waves.candidate)
    away = [one for one in left if one.cut_off_since is not None]
    for region in away:
        until = region.waited_from + waves.plan.cut_off_patience_s
        if now < until:
            return WaitForRegion(region.name, until)
    stuck = [one for one in left if one.cut_off_since is None]
    if stuck:
        first = stuck[0]
        return _pause(f"{first.name}: {first.trouble or seen[first.name].why or 'stands still'}")
    stopping = waves.course is Course.STOPPING
    outcome = WavesOutcome.STOPPED if stopping else WavesOutcome.REVERTED
    owed = {one.name: one.baseline for one in away if one.baseline is not None}
    late = f"; {', '.join(owed)} cut off, and goes back on return" if owed else ""
    return _end(state, waves, outcome, f"{waves.turned_for}{late}", owed)


def _end(
    state: ModelWaves,
    waves: Waves,
    outcome: WavesOutcome,
    reason: str,
    owed: Mapping[str, Any] | None = None,
) -> WaveAction:
    alias = _serves_everywhere(waves, outcome)
    if alias is not None and not waves.aliased:
        return _perform(state, Verb.ALIAS, "", alias)
    body = {"outcome": outcome.value, "reason": reason, "owed": dict(owed or {})}
    return RecordWave("waves-ended", body)


def _serves_everywhere(waves: Waves, outcome: WavesOutcome) -> int | None:
    """The release that every region serves now; None when they differ or nobody can say."""
    if outcome is WavesOutcome.SETTLED:
        return waves.candidate
    back = {one.baseline for one in waves.regions if one.standing is Standing.REVERTED}
    whole = all(one.standing is Standing.REVERTED for one in waves.regions)
    return next(iter(back)) if whole and len(back) == 1 else None


def _pay(state: ModelWaves, seen: Mapping[str, Seen]) -> WaveAction:
    """Nothing is under way: who came back goes to where the others went meanwhile."""
    for name, release in state.owed.items():
        if not seen[name].cut_off and name not in state.given_up:
            return _pay_one(state, name, release, seen[name])
    behind = ", ".join(f"{name} (release {to})" for name, to in state.owed.items())
    reason = f"still to be sent back: {behind}" if behind else "no waves are under way"
    return WavesDone(WavesOutcome.IDLE, reason)


def _pay_one(state: ModelWaves, name: str, release: int, seen: Seen) -> WaveAction:
    if seen.rolling is None and seen.live == release:
        return RecordWave("region-caught-up", {"region": name, "release": release})
    return _perform(state, Verb.GO_BACK, name, release)


def _pause(reason: str) -> RecordWave:
    return RecordWave("waves-paused", {"reason": reason})


def _perform(state: ModelWaves, verb: Verb, region: str, release: int) -> PerformWave:
    effect = WaveEffect(verb, region, release)
    if state.pending is not None and state.pending.effect == effect:
        return PerformWave(state.pending)
    return PerformWave(NumberedWaveEffect(state.effects + 1, effect))
