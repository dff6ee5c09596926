"""The state of a model's waves as a fold over its journal; kinds of other rooms are passed over.

An entry that cannot have followed those before it is refused by name: a wave that begins before the
one before it settled, an end while a region is still to be sent back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from canary import waves_fold_effects as effects
from canary.plan import RolloutPlan
from canary.waves_states import (
    Course,
    EndedWaves,
    ModelWaves,
    RegionState,
    Standing,
    Waves,
    WavesOutcome,
)
from registry.journal_fold import after, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from registry.journal import Entry


def fold_waves(entries: Iterable[Entry], *, model: str = "") -> ModelWaves:
    """The state after all of one model's entries, in order.

    Raises IntegrityError, naming the entry, when one cannot have followed those before it.
    """
    state = ModelWaves(model)
    for entry in entries:
        state = advance_waves(state, entry)
    return state


def advance_waves(state: ModelWaves, entry: Entry) -> ModelWaves:
    """The state after one more entry; raises IntegrityError as `fold_waves` does."""
    return after(state, entry, _CHANGES)


def _started(state: ModelWaves, entry: Entry) -> ModelWaves:
    require(state.waves is None, entry, "starts waves while others are under way")
    body = entry.body
    names = tuple(body["regions"])
    require(bool(names) and len(set(names)) == len(names), entry, "names no order of regions")
    plan = RolloutPlan.model_validate(body["plan"])
    waves = Waves(
        number=body["waves"],
        candidate=body["candidate"],
        regions=tuple(RegionState(name) for name in names),
        reverts=plan.on_regional_rollback == "revert",
        plan=plan,
        reason=body.get("reason", ""),
        started_at=entry.at,
    )
    return replace(state, waves=waves, given_up=frozenset())


def _rollback_requested(state: ModelWaves, entry: Entry) -> ModelWaves:
    """A person sends every region back, in the middle of the waves or long after."""
    body = entry.body
    waves = state.waves
    if waves is None:
        targets: Mapping[str, int | None] = body["regions"]
        require(bool(targets), entry, "sends no region back")
        waves = Waves(
            number=body["waves"],
            candidate=body["candidate"],
            regions=tuple(
                RegionState(name, Standing.SETTLED, baseline=to) for name, to in targets.items()
            ),
            reverts=True,
            plan=RolloutPlan.model_validate(body["plan"]),
            reason=body["reason"],
            started_at=entry.at,
        )
    regions = tuple(replace(one, trouble="", waited_from=entry.at) for one in waves.regions)
    reason = body["reason"]
    waves = replace(waves, regions=regions, course=Course.REVERTING, why=reason, turned_for=reason)
    return replace(state, waves=waves)


def _resume_requested(state: ModelWaves, entry: Entry) -> ModelWaves:
    """A person lets the waves go on, and gives what failed or stands still another try."""
    state, waves = replace(state, given_up=frozenset()), state.waves
    if waves is None:
        return state
    regions = tuple(
        replace(one, trouble="", waited_from=entry.at, goes_on=one.standing is Standing.BEGUN)
        for one in waves.regions
    )
    waves = replace(waves, regions=regions)
    if waves.course is Course.PAUSED:
        waves = replace(waves, course=waves.resumes_in, why=waves.turned_for)
    return replace(state, waves=waves)


def _begun(state: ModelWaves, entry: Entry) -> ModelWaves:
    waves, region = effects.current(state, entry)
    first = waves.current is not None and waves.current.name == region.name
    require(waves.course is Course.FORWARD, entry, f"begins a wave while {waves.course}")
    require(first, entry, "begins a wave before the one before it settled")
    require(region.standing is Standing.WAITING, entry, f"begins a wave that is {region.standing}")
    require(region.replicated, entry, "begins a wave without a verified copy of the release")
    require(region.cut_off_since is None, entry, "begins a wave in a region that is cut off")
    require(region.name not in state.owed, entry, "begins a wave in a region that is behind")
    body = entry.body
    require(body["baseline"] != waves.candidate, entry, "would go back to what it brings")
    begun = replace(
        region,
        standing=Standing.BEGUN,
        baseline=body["baseline"],
        since_rollout=body["rollout"],
    )
    return effects.changed(state, begun)


def _settled(state: ModelWaves, entry: Entry) -> ModelWaves:
    _, region = effects.current(state, entry)
    require(region.standing is Standing.BEGUN, entry, f"settles a wave that is {region.standing}")
    return effects.changed(state, replace(region, standing=Standing.SETTLED, trouble=""))


def _turned_back(state: ModelWaves, entry: Entry) -> ModelWaves:
    _, region = effects.current(state, entry)
    moved = region.standing in (Standing.BEGUN, Standing.SETTLED)
    require(moved, entry, f"turns back a wave that is {region.standing}")
    reason = entry.body["reason"]
    return effects.changed(state, replace(region, standing=Standing.TURNED_BACK, why=reason))


def _reverted(state: ModelWaves, entry: Entry) -> ModelWaves:
    waves, region = effects.current(state, entry)
    moved = region.standing in (Standing.BEGUN, Standing.SETTLED)
    require(moved, entry, f"reverts a wave that is {region.standing}")
    require(waves.heading is not Course.FORWARD, entry, "reverts a region while going forward")
    return effects.changed(state, replace(region, standing=Standing.REVERTED, why=waves.turned_for))


def _cut_off(state: ModelWaves, entry: Entry) -> ModelWaves:
    _, region = effects.current(state, entry)
    require(region.cut_off_since is None, entry, "cuts off a region that is cut off")
    return effects.changed(
        state, replace(region, cut_off_since=entry.at, waited_from=entry.at, goes_on=False)
    )


def _returned(state: ModelWaves, entry: Entry) -> ModelWaves:
    _, region = effects.current(state, entry)
    require(region.cut_off_since is not None, entry, "returns a region that was there")
    served = region.standing in (Standing.BEGUN, Standing.SETTLED)
    return effects.changed(state, replace(region, cut_off_since=None, goes_on=served, trouble=""))


def _turn(course: Course) -> Callable[[ModelWaves, Entry], ModelWaves]:
    def turn(state: ModelWaves, entry: Entry) -> ModelWaves:
        waves = effects.under_way(state, entry)
        back = any(one.standing is Standing.TURNED_BACK for one in waves.regions)
        require(waves.course is Course.FORWARD, entry, f"turns while {waves.course}")
        require(back, entry, "turns though no region turned back")
        reason = entry.body["reason"]
        waves = replace(waves, course=course, why=reason, turned_for=reason)
        return replace(state, waves=waves)

    return turn


def _paused(state: ModelWaves, entry: Entry) -> ModelWaves:
    waves = effects.under_way(state, entry)
    require(waves.course is not Course.PAUSED, entry, "pauses what is paused")
    waves = replace(waves, course=Course.PAUSED, resumes_in=waves.course, why=entry.body["reason"])
    return replace(state, waves=waves)


def _caught_up(state: ModelWaves, entry: Entry) -> ModelWaves:
    name = entry.body["region"]
    require(name in state.owed, entry, "catches up a region that is owed nothing")
    return replace(state, owed={one: to for one, to in state.owed.items() if one != name})


def _ended(state: ModelWaves, entry: Entry) -> ModelWaves:
    waves, body = effects.under_way(state, entry), entry.body
    outcome, owed = WavesOutcome(body["outcome"]), dict(body["owed"])
    course = _ENDS.get(outcome)
    require(course is waves.course, entry, f"ends {outcome} while {waves.course}")
    require(course is not Course.FORWARD or waves.current is None, entry, "ends before all settled")
    for region in waves.to_send_back:
        left = region.cut_off_since is not None and owed.get(region.name) == region.baseline
        require(left, entry, f"ends while {region.name} is still to be sent back")
    ended = EndedWaves(
        waves.number,
        waves.candidate,
        outcome,
        body["reason"],
        waves.started_at,
        entry.at,
        waves.regions,
    )
    kept = {name: to for name, to in state.owed.items() if waves.of(name) is None}
    history = (*state.history, ended)
    return replace(state, waves=None, history=history, owed=_owed(state, kept, owed))


def _owed(state: ModelWaves, kept: Mapping[str, Any], owed: Mapping[str, Any]) -> dict[str, int]:
    """What is still owed: what these waves left, and what they never came to."""
    waves = state.waves
    waiting = {
        one.name
        for one in (() if waves is None else waves.regions)
        if one.standing is Standing.WAITING
    }
    before = {name: to for name, to in state.owed.items() if name in waiting}
    return {**kept, **before, **owed}


_ENDS = {
    WavesOutcome.SETTLED: Course.FORWARD,
    WavesOutcome.STOPPED: Course.STOPPING,
    WavesOutcome.REVERTED: Course.REVERTING,
}

_CHANGES: Mapping[str, Callable[[ModelWaves, Entry], ModelWaves]] = {
    "waves-started": _started,
    "waves-rollback-requested": _rollback_requested,
    "waves-resume-requested": _resume_requested,
    "wave-begun": _begun,
    "wave-settled": _settled,
    "wave-turned-back": _turned_back,
    "wave-reverted": _reverted,
    "region-cut-off": _cut_off,
    "region-returned": _returned,
    "region-caught-up": _caught_up,
    "waves-stopped": _turn(Course.STOPPING),
    "waves-reverting": _turn(Course.REVERTING),
    "waves-paused": _paused,
    "waves-ended": _ended,
    "wave-effect-started": effects.started,
    "wave-effect-confirmed": effects.confirmed,
    "wave-effect-failed": effects.failed,
}
