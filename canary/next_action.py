"""The next thing to do: the first difference between what is believed and what is desired.

Always in the same order: get traffic away from what may not have it, load and admit, write the
route, stop what is not needed, move the alias. So a crash anywhere changes nothing about what
comes next, and going back writes the route before it stops anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary.desired import desired_of
from canary.effects import (
    PRODUCTION,
    AdmitRevision,
    Done,
    NumberedEffect,
    Observe,
    Perform,
    Record,
    SetAlias,
    StartRevision,
    StopRevision,
    WriteRoute,
    whole,
)
from canary.ports import RevisionState
from canary.standing import with_standing
from canary.states import MAX_STARTS, PAUSABLE, Outcome, Phase

if TYPE_CHECKING:
    from canary.desired import Desired
    from canary.effects import Action, Effect
    from canary.states import ModelServing, Rollout


def next_action(serving: ModelServing, now: float) -> Action:
    """What to do at `now` (UTC epoch seconds). Pure: the same state gives the same action."""
    desired = desired_of(serving)
    if serving.rollout is not None and _pause_is_due(serving.rollout):
        return Record("phase-entered", {"phase": Phase.PAUSED.value})
    if serving.rollout is not None and serving.rollout.skip_is_due:
        return Record("step-skipped", {"step": serving.rollout.step})
    if serving.failure:
        return _answer_failure(serving, desired)
    action = (
        _make_safe(serving, desired)
        or _load(serving, desired, now)
        or _route(serving, desired)
        or _stop(serving, desired)
        or _alias(serving, desired)
        or _keep(serving, desired)
        or _wait_for_kept(serving, desired, now)
        or _then(serving, desired)
    )
    if isinstance(action, Perform | Observe | Record | Done):
        return action
    return _perform(serving, action)


def _then(serving: ModelServing, desired: Desired) -> Action:
    then = desired.then
    if isinstance(then, Record) and then.kind == "rollout-ended":
        return Record(then.kind, with_standing(serving, then.body))
    return then


def _pause_is_due(rollout: Rollout) -> bool:
    return bool(rollout.pause_wanted) and rollout.phase in PAUSABLE


def _answer_failure(serving: ModelServing, desired: Desired) -> Action:
    """A route could not be written: look, so that a decision is made, or call a person."""
    if serving.rollout is None:
        return Done(Outcome.HALTED, serving.failure)
    if serving.rollout.phase is Phase.HALTED:
        return desired.then
    return Observe(desired.load, counters=False)


def _perform(serving: ModelServing, effect: Effect) -> Perform:
    pending = serving.pending
    if pending is not None and pending.effect == effect:
        return Perform(pending)
    return Perform(NumberedEffect(serving.effects + 1, effect))


def _make_safe(serving: ModelServing, desired: Desired) -> Effect | None:
    """Send everything to the spare while the route serves from a revision that may not."""
    spare = desired.spare
    if spare is None or not serving.admitted(spare):
        return None
    if desired.route is not None and _loaded(serving, desired):
        return None
    shares = serving.route if serving.claimed else None
    unsafe = shares is None or any(
        share.weight and (not serving.admitted(share.release) or share.release == desired.leaving)
        for share in shares
    )
    return WriteRoute(whole(spare)) if unsafe else None


def _loaded(serving: ModelServing, desired: Desired) -> bool:
    return all(serving.admitted(release) for release in desired.load)


def _load(serving: ModelServing, desired: Desired, now: float) -> Effect | Observe | Done | None:
    """Bring the first release that is not admitted one step nearer to it."""
    for release in desired.load:
        if not serving.admitted(release):
            return _load_one(serving, desired, release, now)
    return None


def _load_one(
    serving: ModelServing, desired: Desired, release: int, now: float
) -> Effect | Observe | Done:
    belief, lost = serving.belief(release), serving.hopeless(release, now)
    if lost and serving.rollout is None:
        return Done(Outcome.HALTED, f"release {release} does not serve: {lost}")
    if not lost and belief is None:
        return StartRevision(release)
    if not lost and belief is not None and belief.broken(now, serving.load_timeout_s):
        return StopRevision(release)
    if not lost and belief is not None and belief.state is RevisionState.READY:
        return AdmitRevision(release)
    return Observe(tuple(sorted({*desired.load, *desired.keep})), counters=False)


def _route(serving: ModelServing, desired: Desired) -> Effect | None:
    if desired.route is None:
        return None
    written = WriteRoute(serving.route or (), serving.mirror, serving.retry_to)
    return None if serving.claimed and written == desired.route else desired.route


def _stop(serving: ModelServing, desired: Desired) -> Effect | None:
    for release in desired.stop:
        if release not in serving.given_up:
            return StopRevision(release)
    return None


def _alias(serving: ModelServing, desired: Desired) -> Effect | None:
    if desired.alias is None or serving.alias == desired.alias:
        return None
    return SetAlias(PRODUCTION, desired.alias)


def _keep(serving: ModelServing, desired: Desired) -> Effect | None:
    for release in desired.keep:
        belief = serving.belief(release)
        if belief is None and serving.starts.get(release, 0) < MAX_STARTS:
            return StartRevision(release)
        ready = belief is not None and belief.state is RevisionState.READY
        if ready and belief is not None and not belief.admitted and not belief.trouble:
            return AdmitRevision(release)
    return None


def _wait_for_kept(serving: ModelServing, desired: Desired, now: float) -> Observe | None:
    """A model that only serves is done when its spare release is ready too, or never will be."""
    for release in desired.keep:
        belief = serving.belief(release)
        if serving.rollout is not None or belief is None:
            continue
        waiting = belief.state is RevisionState.STARTING
        if waiting and not belief.broken(now, serving.load_timeout_s):
            return Observe(desired.keep, counters=False)
    return None
