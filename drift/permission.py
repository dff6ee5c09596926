"""Whether a release that was found to be worse may be rolled back by itself.

Evidence says that it should; this says that it may. Everything that could make an automatic
rollback do harm refuses it, with a reason for the person who then decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drift.policy import RollbackMode

if TYPE_CHECKING:
    from drift.case import DriftState
    from drift.policy import DriftPolicy

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Serving:
    """What is true of the model's serving now, by looking."""

    live: int
    previous: int | None
    """The release to go back to; None when there is none."""
    previous_healthy: bool
    """Loaded, ready and admitted."""
    withdrawn: frozenset[int] = frozenset()
    """Releases that were rolled back or failed."""
    rollout_under_way: bool = False


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether the traffic may move, to which release, and why not."""

    allowed: bool
    reason: str
    to: int | None = None


def permitted(state: DriftState, serving: Serving, policy: DriftPolicy, now: float) -> Permission:
    """Whether the open case may roll back its release by itself; `now` in UTC epoch seconds."""
    refusal = _refusal(state, serving, policy, now)
    if refusal:
        return Permission(allowed=False, reason=refusal)
    return Permission(
        allowed=True, reason=f"release {serving.previous} is healthy", to=serving.previous
    )


def _refusal(state: DriftState, serving: Serving, policy: DriftPolicy, now: float) -> str:
    """Why not; empty when nothing speaks against it."""
    if state.case is None:
        return "no drift case is open"
    if state.case.release != serving.live:
        return f"the case is about release {state.case.release}, and {serving.live} serves"
    if policy.rollback is RollbackMode.ADVISE:
        return 'the policy says rollback = "advise"'
    if serving.rollout_under_way:
        return "a rollout is under way, which decides by itself"
    return _unfit(serving) or _spent(state, policy, now)


def _unfit(serving: Serving) -> str:
    """Why the previous release cannot take the traffic."""
    previous = serving.previous
    if previous is None or previous == serving.live:
        return "there is no previous release to go back to"
    if previous in serving.withdrawn:
        return f"release {previous} failed before"
    if not serving.previous_healthy:
        return f"release {previous} is not loaded and healthy"
    return ""


def _spent(state: DriftState, policy: DriftPolicy, now: float) -> str:
    """Why there were too many of them lately."""
    today = [made for made in state.rollbacks if now - made.at < _DAY_S]
    if len(today) >= policy.rollbacks_per_day:
        return f"{len(today)} of {policy.rollbacks_per_day} automatic rollbacks a day were made"
    last = max((made.at for made in state.rollbacks), default=None)
    if last is not None and now - last < policy.rollback_cooldown_s:
        left = policy.rollback_cooldown_s - (now - last)
        return f"the last automatic rollback was too short ago, by {left:.0f} s"
    return ""
