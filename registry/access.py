"""Who may do what: roles, the actions that they hold, and which action each journal entry is.

Pure: it reads no file and asks nobody. `registry.guard` holds entries against it, and
`registry.access_file` reads the policy.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from registry.identity import Identity


class Action(StrEnum):
    """What somebody may be allowed to do to a model."""

    REGISTER = "register"
    CONVERT = "convert"
    GATE = "gate"
    TUNE = "tune"
    DATA = "data"
    PROMOTE = "promote"
    ROLL_BACK = "roll back"
    PAUSE = "pause"
    RESUME = "resume"
    EXPERIMENT = "experiment"
    APPROVE = "approve"
    DRIFT = "watch drift"
    KEYS = "keys"
    POLICY = "policy"


class Role(StrEnum):
    """What people and services are, for some models or for all."""

    VIEWER = "viewer"
    ENGINEER = "engineer"
    RELEASER = "releaser"
    APPROVER = "approver"
    ON_CALL = "on-call"
    ADMIN = "admin"


ACTIONS: Mapping[Role, frozenset[Action]] = {
    Role.VIEWER: frozenset(),
    Role.ENGINEER: frozenset(
        {Action.REGISTER, Action.CONVERT, Action.GATE, Action.TUNE, Action.DATA}
    ),
    Role.RELEASER: frozenset(
        {
            Action.PROMOTE,
            Action.ROLL_BACK,
            Action.PAUSE,
            Action.RESUME,
            Action.EXPERIMENT,
            Action.DRIFT,
        }
    ),
    Role.APPROVER: frozenset({Action.APPROVE}),
    Role.ON_CALL: frozenset({Action.ROLL_BACK, Action.PAUSE, Action.DRIFT}),
    Role.ADMIN: frozenset({Action.KEYS, Action.POLICY}),
}
"""Going back is allowed to more people than going forward. No role holds those of another."""

GOES_ON: frozenset[str] = frozenset(
    {
        "decided",
        "effect-confirmed",
        "effect-failed",
        "effect-started",
        "looked",
        "phase-entered",
        "pointer-signed",
        "region-caught-up",
        "region-cut-off",
        "region-returned",
        "rollout-ended",
        "step-entered",
        "step-skipped",
        "wave-begun",
        "wave-effect-confirmed",
        "wave-effect-failed",
        "wave-effect-started",
        "wave-reverted",
        "wave-settled",
        "wave-turned-back",
        "waves-ended",
        "waves-paused",
        "waves-reverting",
        "waves-stopped",
    }
)
"""What a controller writes while it goes on with what somebody asked for."""

ALWAYS: frozenset[str] = frozenset(
    {"healed", "integrity-broken", "notifications-sent", "quarantined"}
)
"""What only says that somebody was told, or what a scrub found."""

KINDS: Mapping[str, Action] = {
    "alarm-acknowledged": Action.DRIFT,
    "alarm-cleared": Action.DRIFT,
    "alarm-muted": Action.DRIFT,
    "alarm-raised": Action.DRIFT,
    "alarm-unmuted": Action.DRIFT,
    "approval-withdrawn": Action.APPROVE,
    "artifact-registered": Action.REGISTER,
    "attribution-begun": Action.DRIFT,
    "attribution-decided": Action.DRIFT,
    "caller-added": Action.KEYS,
    "caller-key-rotated": Action.KEYS,
    "caller-withdrawn": Action.KEYS,
    "drift-pairs": Action.DRIFT,
    "drift-rollback-requested": Action.DRIFT,
    "gate-decided": Action.GATE,
    "key-retired": Action.KEYS,
    "key-revoked": Action.KEYS,
    "key-rotated": Action.KEYS,
    "pause-requested": Action.PAUSE,
    "release-approved": Action.APPROVE,
    "release-published": Action.PROMOTE,
    "release-replicated": Action.PROMOTE,
    "release-reserved": Action.PROMOTE,
    "resume-requested": Action.RESUME,
    "rollback-requested": Action.ROLL_BACK,
    "rollout-started": Action.PROMOTE,
    "search-ended": Action.CONVERT,
    "settle-requested": Action.PROMOTE,
    "signatures-renewed": Action.KEYS,
    "skip-requested": Action.RESUME,
    "standing-pairs": Action.DRIFT,
    "variant-converted": Action.CONVERT,
    "waves-resume-requested": Action.RESUME,
    "waves-rollback-requested": Action.ROLL_BACK,
    "waves-started": Action.PROMOTE,
    "window-judged": Action.DRIFT,
}
"""Of every kind that begins something, the action it is."""

UNSTATED = frozenset({"", "a person asked", "asked for by a person"})
"""Reasons that nobody gave."""

Pattern = str
"""A name, in which `*` stands for any characters."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Grant(_Table):
    """`[[grants]]`: a role, for some models, given to actors and to groups of an OIDC token."""

    role: Role
    models: tuple[Pattern, ...] = ("*",)
    actors: tuple[Pattern, ...] = ()
    """Names as `sluice whoami` shows them."""
    groups: tuple[str, ...] = ()
    """Groups that a verified token names; an asserted actor is in none."""

    def is_for(self, model: str) -> bool:
        """Whether it speaks of the model; "*": of any model at all."""
        return model == "*" or _matches(self.models, model)

    def holds_for(self, who: Identity, model: str) -> bool:
        """Whether `who` has the role for `model`; `model` "*": for any model at all."""
        return self.is_for(model) and (
            _matches(self.actors, who.actor) or not who.groups.isdisjoint(self.groups)
        )


class Production(_Table):
    """`[production]`: what a release needs before it gets traffic, for some models."""

    models: tuple[Pattern, ...] = ("*",)
    approvals: int = Field(default=0, ge=0, le=9)
    """How many others must approve the release first."""
    expires_hours: float = Field(default=24.0, gt=0, le=8760, allow_inf_nan=False)
    """An approval counts for so long."""
    distinct: bool = True
    """Whether approvals by whoever registered the artifact do not count either."""
    require_reason: bool = False
    """Whether promotions, rollbacks and approvals need a `--reason`."""


class AccessPolicy(_Table):
    """All of `access.toml`. What no grant allows is refused."""

    grants: tuple[Grant, ...] = ()
    production: tuple[Production, ...] = ()

    def roles_of(self, who: Identity, model: str) -> tuple[Role, ...]:
        """The roles that `who` has for `model`, in the order of `Role`; "*": for any model."""
        held = {grant.role for grant in self.grants if grant.holds_for(who, model)}
        return tuple(role for role in Role if role in held)

    def production_of(self, model: str) -> Production:
        """The first `[[production]]` that names the model; without one, nothing is asked."""
        named = (rule for rule in self.production if _matches(rule.models, model))
        return next(named, Production())

    def require(self, who: Identity, action: Action, model: str) -> None:
        """Raise UserError that says which role is missing, unless `who` may do it to `model`."""
        held = self.roles_of(who, model)
        if any(action in ACTIONS[role] for role in held):
            return
        needed = " or ".join(role for role in Role if action in ACTIONS[role])
        has = ", ".join(held) or "no role"
        raise UserError(
            f"{who.actor} may not {_in_words(action)}: that takes {needed}, and {who.actor} has "
            f"{has} ({who.known_by})",
            where="" if model == "*" else model,
            remedy=f"`sluice access{'' if model == '*' else f' {model}'}` shows who may",
        )


def action_of(kind: str, body: Mapping[str, Any]) -> Action | None:
    """Which action an entry is; None for one that goes on with another, or says who was told.

    Raises UserError for a kind that nobody decided about.
    """
    if kind in GOES_ON or kind in ALWAYS:
        return None
    if kind not in KINDS:
        raise UserError(f"nobody decided who may write {kind!r}", where="registry/access.py")
    if kind == "rollout-started" and body.get("plan", {}).get("ends_with") == "return":
        return Action.EXPERIMENT
    return KINDS[kind]


def permitted_actions(roles: Iterable[Role]) -> tuple[Action, ...]:
    """What the roles together hold, in the order of `Action`."""
    held = {action for role in roles for action in ACTIONS[role]}
    return tuple(action for action in Action if action in held)


def _in_words(action: Action) -> str:
    objects = {Action.KEYS: "change keys", Action.POLICY: "change the policy"}
    return objects.get(action, "change sets of data" if action is Action.DATA else action.value)


def _matches(patterns: Collection[Pattern], name: str) -> bool:
    return any(
        re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL)
        for pattern in patterns
    )
