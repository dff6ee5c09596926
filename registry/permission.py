"""What a policy says of one journal entry: which action it is, on whose behalf, and what it needs.

Pure: the history is handed in. What a controller or the drift watch writes is permitted by what it
goes on with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.access import ALWAYS, GOES_ON, UNSTATED, Action, action_of
from registry.approvals import KINDS as APPROVAL_KINDS
from registry.approvals import approvals_of
from registry.errors import UserError
from registry.names import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.access import AccessPolicy
    from registry.identity import Identity
    from registry.journal import History
    from registry.journal_entry import Entry

_BEGINNINGS = (
    "rollout-started",
    "rollback-requested",
    "settle-requested",
    "resume-requested",
    "waves-started",
    "waves-rollback-requested",
    "waves-resume-requested",
)
"""What a controller goes on with."""

_WITH_A_REASON = frozenset(
    {"rollout-started", "rollback-requested", "release-approved", "waves-rollback-requested"}
)


def behalf_of(draft: Entry, who: Identity, policy: AccessPolicy, history: History) -> str:
    """On whose behalf `who` may write the draft; empty: on their own.

    Raises UserError where they may not, and where a reason or approvals are missing.
    """
    if draft.kind in ALWAYS:
        return ""
    if draft.kind in GOES_ON:
        return _gone_on_with(draft, who, policy, history)
    action = action_of(draft.kind, draft.body)
    case = _drift_case(draft, history)
    if case:
        policy.require(who, Action.DRIFT, draft.model)
        return case
    if draft.kind == "rollback-requested" and not _has_served(draft.body["to"], history):
        # Going to a release that never had all traffic is going forward.
        action = Action.PROMOTE
    if action is not None:
        policy.require(who, action, "*" if draft.model == WORKSPACE else draft.model)
    _require_the_rest(draft, policy, action, history)
    return ""


def _require_the_rest(
    draft: Entry, policy: AccessPolicy, action: Action | None, history: History
) -> None:
    """A reason, and for what gives a release traffic, approvals."""
    rule = policy.production_of(draft.model)
    compares = action is Action.EXPERIMENT
    if rule.require_reason and draft.kind in _WITH_A_REASON and not compares:
        _require_reason(draft.model, str(draft.body.get("reason", "")))
    release = _gets_traffic(draft, action)
    if rule.approvals and release is not None:
        found = approvals_of(
            history.every(*APPROVAL_KINDS),
            rule,
            release=release,
            promoter=draft.actor,
            now=draft.at,
        )
        found.require(draft.model)


def _require_reason(model: str, reason: str) -> None:
    """Raise UserError unless somebody gave a reason."""
    if reason.strip() in UNSTATED:
        raise UserError(
            "access.toml asks for a reason", where=model, remedy='say why: `--reason "..."`'
        )


def _gone_on_with(draft: Entry, who: Identity, policy: AccessPolicy, history: History) -> str:
    begun = history.newest(*_BEGINNINGS)
    if begun is None:
        policy.require(who, Action.RESUME, draft.model)
        return ""
    asked = str(begun.origin.get("for") or begun.actor)
    return asked if asked != draft.actor else ""


def _gets_traffic(draft: Entry, action: Action | None) -> int | None:
    """The release that gets answers to users' requests by this entry, if one does anew."""
    if draft.kind == "rollout-started" and not _only_copies(draft.body):
        return int(draft.body["candidate"])
    if draft.kind == "rollback-requested" and action is Action.PROMOTE:
        return int(draft.body["to"])
    return None


def _only_copies(body: Mapping[str, Any]) -> bool:
    """Whether a rollout gives nobody the candidate's answers: as a comparison, it only copies."""
    plan = body.get("plan", {})
    steps = plan.get("steps", ())
    return plan.get("ends_with") == "return" and not any(step.get("weight") for step in steps)


def _has_served(release: int | None, history: History) -> bool:
    """Whether the release had all the traffic once; a way back to nothing leads nowhere new."""
    if release is None:
        return True
    candidate = None
    for entry in history.every("rollout-started", "rollout-ended"):
        if entry.kind == "rollout-started":
            candidate = entry.body["candidate"]
            if entry.body["baseline"] == release:
                return True
        elif candidate == release and entry.body["outcome"] == "settled":
            return True
    return False


def _drift_case(draft: Entry, history: History) -> str:
    """The drift case that the entry belongs to, when it is the watch's own doing; else empty.

    That is: to go back where a case asked to, and to compare by copies while one asks for that.
    """
    begun = history.newest("attribution-begun", "drift-rollback-requested", "alarm-cleared")
    if begun is None or begun.kind == "alarm-cleared":
        return ""
    case, body = f"drift case {begun.body['case']}", draft.body
    if begun.kind == "drift-rollback-requested":
        goes_back = draft.kind == "rollback-requested" and body["to"] == begun.body["to"]
        return case if goes_back else ""
    if draft.kind == "rollout-started":
        compares = _only_copies(body) and body["candidate"] == begun.body["previous"]
        return case if compares else ""
    if draft.kind in {"rollback-requested", "resume-requested", "skip-requested"}:
        rollout = history.newest("rollout-started", "rollout-ended")
        under_way = rollout is not None and rollout.kind == "rollout-started"
        if under_way and rollout is not None and _only_copies(rollout.body):
            ends = draft.kind != "rollback-requested" or body["to"] in (
                None,
                rollout.body["baseline"],
            )
            return case if ends else ""
    return ""
