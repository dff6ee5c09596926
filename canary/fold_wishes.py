"""What people ask of a rollout under way: to stand still, to go on, to leave a step out.

A wish is written without the lease, between any two entries of the controller, so it must not
change what those entries may be: it is remembered, and the controller acts on it when it sees it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from canary.fold_current import current
from canary.metrics import Evidence
from canary.split import SplitCheck
from canary.states import Phase, Skip
from registry.journal_fold import require

if TYPE_CHECKING:
    from canary.plan import Step
    from canary.states import ModelServing
    from registry.journal import Entry


def may_let_go_on(step: Step, actor: str, role: str = "") -> bool:
    """Whether `actor`, in `role`, is one of those whose word a step with `manual` waits for."""
    names = {actor, actor.partition("@")[0], role} - {""}
    return not step.who or not names.isdisjoint(step.who)


def pause_requested(serving: ModelServing, entry: Entry) -> ModelServing:
    """A person wants the rollout to stand still; its controller enters the pause."""
    if serving.rollout is None:
        return serving
    reason = entry.body.get("reason") or "a person asked"
    return replace(serving, rollout=replace(serving.rollout, pause_wanted=reason))


def resume_requested(serving: ModelServing, entry: Entry) -> ModelServing:
    """A person wants a rollout to go on that stands still, or that waits for somebody's word."""
    rollout, role = serving.rollout, entry.body.get("role", "")
    if rollout is None:
        return serving
    if "step" in entry.body:
        meant = rollout.waits and entry.body["step"] == rollout.step
        if meant and may_let_go_on(rollout.current, entry.actor, role):
            return replace(serving, rollout=replace(rollout, approved_by=entry.actor))
        return serving
    if rollout.phase not in (Phase.PAUSED, Phase.HALTED):
        return serving
    # A person looked, so what was held against the baseline and the split begins again.
    evidence = replace(rollout.evidence.forgiving_baseline(), split=SplitCheck())
    if rollout.baseline is None:
        evidence = Evidence.none(rollout.plan)
    rollout = replace(rollout, reason="", evidence=evidence, pause_wanted="")
    return replace(
        serving, rollout=rollout.entered(rollout.resumes_in, entry.at), failure="", starts={}
    )


def settle_requested(serving: ModelServing, entry: Entry) -> ModelServing:
    """A person takes the live candidate as it is, without watching it to the end."""
    rollout = current(serving, entry)
    require(serving.live == rollout.candidate, entry, "settles a release that is not live")
    rollout = replace(rollout, decided_at=entry.at, reason=entry.body["reason"])
    return replace(serving, rollout=rollout.entered(Phase.SETTLED, entry.at), failure="")


def skip_requested(serving: ModelServing, entry: Entry) -> ModelServing:
    """A person does not want to wait for what is left of a step."""
    rollout, body = serving.rollout, entry.body
    if rollout is None:
        return serving
    allowed = may_let_go_on(rollout.current, entry.actor, body.get("role", ""))
    if rollout.current.manual and not allowed:
        return serving
    wish = Skip(body["step"], entry.actor, body["reason"])
    return replace(serving, rollout=replace(rollout, skip=wish))


def step_skipped(serving: ModelServing, entry: Entry) -> ModelServing:
    """The controller goes to the next step because a person asked."""
    rollout = current(serving, entry)
    asked = rollout.skip_is_due and entry.body["step"] == rollout.step
    require(asked, entry, "skips a step that nobody asked to skip")
    following = rollout.step if rollout.plan.returns else rollout.step + 1
    last = following >= len(rollout.plan.steps) - 1
    asked_for = rollout.skip
    verb = "ended the experiment" if rollout.plan.returns else "skipped a step"
    rollout = replace(
        rollout,
        step=following,
        step_requests=0,
        step_pairs=0,
        resumes_in=Phase.SHIFTING,
        decided_at=entry.at,
        reason=f"{asked_for.by} {verb}: {asked_for.reason}" if asked_for else "",
        skip=None,
    )
    phase = Phase.PROMOTED if last else Phase.SHIFTING
    if rollout.plan.returns:
        phase = Phase.RETURNING
    return replace(serving, rollout=rollout.entered(phase, entry.at), failure="")
