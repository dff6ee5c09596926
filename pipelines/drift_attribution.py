"""Tells a drift case apart: is the release worse, or the world? And goes back where it may.

Only a release that gives more bad outputs than the one before *on the same inputs* is rolled back,
and only where the policy lets it be; all else is left to people, with what is known.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from canary.ports import RevisionState
from canary.states import Outcome
from drift.attribution import NotEnough, attribution_name
from drift.case_steps import after_attribution, after_rollback
from drift.permission import Serving, permitted
from drift.policy import RollbackMode
from pipelines.drift_cases import append_drafts, state_of
from pipelines.drift_comparison import Comparing, copying, find_or_begin
from pipelines.model_config import load_model_config
from pipelines.stages import announce
from registry.errors import UserError
from registry.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from canary.states import ModelServing
    from drift.attribution import AttributionOutcome
    from drift.case import Case, DriftState
    from drift.comparison import Comparison
    from drift.policy import DriftPolicy
    from pipelines.assembly import Platform


@dataclass(frozen=True, slots=True)
class Attributed:
    """What a comparison found, and what was done about it."""

    model: str
    case: int
    release: int
    finding: str
    """`model`, `data`, `neither` or `not enough`."""
    reason: str
    pairs: int = 0
    e_value: float = 1.0
    """Of "the release is worse"; it acts at 1 / alpha of the case."""
    pairs_more: int = 0
    """About how many more would do, when it is not enough; 0: more would not help."""
    seconds_more: float | None = None
    """About how long they take at present traffic."""
    rolled_back_to: int | None = None
    not_rolled_back: str = ""
    """Why a release that is worse still serves."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def attribute(
    platform: Platform,
    model: str,
    *,
    advise: bool = False,
    longest_s: float | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Attributed:
    """Compare the open case's release with the one before, for at most `longest_s` seconds.

    A comparison or a way back that was interrupted goes on where it was. With `advise` nothing is
    rolled back. Raises UserError when no case is open, LeaseHeldError while another command
    compares, EngineError when an engine cannot be asked.
    """
    prefetch("mlflow")
    platform.permit(model, "attribution-begun")
    policy = load_model_config(platform.workspace, model).drift
    if advise:
        policy = policy.model_copy(update={"rollback": RollbackMode.ADVISE})
    state = state_of(platform, model)
    case = state.case
    if case is None:
        raise UserError(
            "no drift case is open", where=model, remedy=f"`sluice drift check {model}` looks"
        )
    if case.rolled_back_to is not None:
        found = Attributed(model, case.number, case.release, case.attribution, case.reason)
        return _go_back(platform, state, found, clock, sleep)
    serving = platform.serving(model)
    refusal = _cannot_compare(serving, case)
    if refusal or serving.previous is None:
        return Attributed(model, case.number, case.release, "not enough", refusal)
    comparison = find_or_begin(platform, model, case, serving.previous, policy, clock())
    comparing = Comparing(platform, model, comparison, clock=clock, sleep=sleep)
    lasts_s = longest_s or policy.longest_comparison_s
    plan = load_model_config(platform.workspace, model).rollout
    comparing.run(copying(plan, policy.copied_percent, lasts_s))
    return _decide(platform, comparing, policy, clock, sleep)


def _cannot_compare(serving: ModelServing, case: Case) -> str:
    """Why the two releases cannot be asked the same now; empty when they can."""
    if case.release != serving.live:
        return f"the case is about release {case.release}, and {serving.live} serves"
    if serving.previous is None:
        return "there is no healthy release before it that could answer the same inputs"
    rollout = serving.rollout
    if rollout is not None and not (
        rollout.plan.only_copies and rollout.candidate == serving.previous
    ):
        return "a rollout is under way, which compares by itself"
    return ""


def _decide(
    platform: Platform,
    comparing: Comparing,
    policy: DriftPolicy,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Attributed:
    """Journal what was found, and go back where the release is worse and it may."""
    comparison, outcome = comparing.comparison, comparing.outcome()
    model, now = comparing.model, clock()
    found = _found(model, comparison, outcome)
    state = state_of(platform, model)
    if state.case is None or state.case.number != comparison.case:
        return replace(found, not_rolled_back="somebody ended the case meanwhile")
    permission = permitted(state, _serving(platform, model, comparison), policy, now)
    drafts = after_attribution(state, outcome, permission, now)
    state = append_drafts(platform, state, drafts, now)
    if any(draft.kind == "drift-rollback-requested" for draft in drafts):
        return _go_back(platform, state, found, clock, sleep)
    if found.finding == "model":
        return replace(found, not_rolled_back=permission.reason)
    return found


def _found(model: str, comparison: Comparison, outcome: AttributionOutcome) -> Attributed:
    more = outcome if isinstance(outcome, NotEnough) else None
    return Attributed(
        model=model,
        case=comparison.case,
        release=comparison.current,
        finding=attribution_name(outcome),
        reason=outcome.reason,
        pairs=comparison.attribution.pairs,
        e_value=float(f"{math.exp(min(comparison.attribution.log_e, 700.0)):.6g}"),
        pairs_more=more.pairs_more if more else 0,
        seconds_more=more.seconds if more else None,
    )


def _serving(platform: Platform, model: str, comparison: Comparison) -> Serving:
    """What is true now, by looking at the release before."""
    serving, previous = platform.serving(model), comparison.previous
    ready = platform.fleet.status(model, previous).state is RevisionState.READY
    return Serving(
        live=serving.live or 0,
        previous=previous,
        previous_healthy=ready and serving.admitted(previous),
        withdrawn=serving.withdrawn,
        rollout_under_way=serving.rollout is not None,
    )


def _go_back(
    platform: Platform,
    state: DriftState,
    found: Attributed,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Attributed:
    """Roll back to where the case said, unless that is done; then the case is over."""
    case = state.case
    target = case.rolled_back_to if case else None
    if case is None or target is None:
        return found
    model = state.model
    if platform.serving(model).live == case.release:
        announce(f"Going back to release {target}")
        reason = f"drift case {case.number}: {found.reason}"
        controller = platform.controller(clock=clock, sleep=sleep)
        done = controller.rollback(model, to=target, reason=reason)
        if done.outcome is not Outcome.ROLLED_BACK:
            return replace(found, not_rolled_back=done.reason)
    append_drafts(platform, state_of(platform, model), after_rollback(state), clock())
    return replace(found, rolled_back_to=target)
