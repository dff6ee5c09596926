"""How effects change what is believed of the world: started, confirmed by looking, or failed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from canary.effects import (
    AdmitRevision,
    NumberedEffect,
    SetAlias,
    StartRevision,
    StopRevision,
    WriteRoute,
)
from canary.ports import RevisionState
from canary.states import Belief
from registry.journal_fold import illegal, require

if TYPE_CHECKING:
    from canary.effects import Effect
    from canary.states import ModelServing
    from registry.journal import Entry


def effect_started(serving: ModelServing, entry: Entry) -> ModelServing:
    """An effect is about to be done: from now on it may have been."""
    numbered = NumberedEffect.from_json(entry.body)
    repeated = serving.pending == numbered
    require(repeated or numbered.number == serving.effects + 1, entry, "skips an effect's number")
    serving = replace(serving, pending=numbered, effects=numbered.number)
    effect = numbered.effect
    if isinstance(effect, StartRevision):
        return _revision_started(serving, effect.release, entry.at, again=repeated)
    if isinstance(effect, StopRevision):
        needed = serving.weight_of(effect.release) and serving.admitted(effect.release)
        require(not needed, entry, "stops a release that serves")
        belief = serving.belief(effect.release)
        return serving.with_belief(replace(belief, admitted=False)) if belief else serving
    if isinstance(effect, WriteRoute):
        for share in effect.shares:
            legal = not share.weight or serving.admitted(share.release)
            require(legal, entry, f"routes to release {share.release}, which is not admitted")
        copied = effect.mirror is None or serving.admitted(effect.mirror.release)
        require(copied, entry, "copies requests to a release that is not admitted")
        if serving.rollout is not None:
            rollout = replace(serving.rollout, mark=None, held_from=None)
            return replace(serving, rollout=rollout)
    if isinstance(effect, SetAlias):
        # Nobody knows what it names until it is confirmed; another controller may take over first.
        return replace(serving, alias=None)
    return serving


def _revision_started(
    serving: ModelServing, release: int, at: float, *, again: bool
) -> ModelServing:
    if not again:
        starts = {**serving.starts, release: serving.starts.get(release, 0) + 1}
        serving = replace(serving, starts=starts)
    if serving.belief(release) is not None:
        return serving
    return serving.with_belief(Belief(release, RevisionState.STARTING, started_at=at))


def effect_confirmed(serving: ModelServing, entry: Entry) -> ModelServing:
    """Looking showed that an effect is done."""
    effect = _finished(serving, entry)
    serving = replace(serving, pending=None)
    if isinstance(effect, AdmitRevision):
        belief, observed = serving.belief(effect.release), entry.body["observed"]
        if belief is None:
            return serving
        trouble = "" if observed["admitted"] else _refusal(observed["checks"])
        return serving.with_belief(replace(belief, admitted=observed["admitted"], trouble=trouble))
    if isinstance(effect, WriteRoute):
        return replace(
            serving,
            route=effect.shares,
            mirror=effect.mirror,
            retry_to=effect.retry_to,
            claimed=True,
            failure="",
        )
    if isinstance(effect, StopRevision):
        return serving.without_belief(effect.release)
    if isinstance(effect, SetAlias):
        return replace(serving, alias=effect.release)
    return serving


def _refusal(checks: list[list[Any]]) -> str:
    failed = [f"{name}: {detail}" for name, passed, detail in checks if not passed]
    return f"admission refused ({'; '.join(failed) or 'no check passed'})"


def effect_failed(serving: ModelServing, entry: Entry) -> ModelServing:
    """An effect was given up; whether anything of it happened is not known."""
    effect, reason = _finished(serving, entry), entry.body["reason"]
    serving = replace(serving, pending=None)
    if isinstance(effect, StartRevision | AdmitRevision):
        belief = serving.belief(effect.release)
        return serving.with_belief(replace(belief, trouble=reason)) if belief else serving
    if isinstance(effect, WriteRoute):
        # The write may or may not have been taken.
        return replace(serving, route=None, mirror=None, retry_to=None, failure=reason)
    if isinstance(effect, StopRevision):
        return replace(serving, given_up=serving.given_up | {effect.release})
    return replace(serving, alias=effect.release)


def _finished(serving: ModelServing, entry: Entry) -> Effect:
    pending = serving.pending
    if pending is None or pending.number != entry.body["effect"]:
        raise illegal(entry, f"finishes effect {entry.body['effect']}, which was not started")
    return pending.effect
