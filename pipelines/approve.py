"""A second person's word for a release: given, withdrawn, and asked for before a promotion."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pipelines.model_config import load_model_config
from pipelines.rehearsal import chosen_release
from registry.errors import UserError

if TYPE_CHECKING:
    from pipelines.assembly import Platform
    from registry.approvals import Approvals


def approve(platform: Platform, model: str, release: int, reason: str = "") -> dict[str, Any]:
    """Journal this actor's approval of the release's exact bytes; what stands for it then.

    Raises UserError for a release that was never published, for an actor who may not approve, and
    for one whose approval would not count.
    """
    from registry.approvals import APPROVED

    platform.workspace.require_model(model)
    body = _subject(platform, model, release) | {"reason": reason}
    platform.permit(model, APPROVED, body)
    _refuse_own(platform, model, release)
    platform.append(model, APPROVED, body)
    return standing(platform, model, release)


def withdraw(platform: Platform, model: str, release: int, reason: str = "") -> dict[str, Any]:
    """Journal that this actor's approval is no more. A rollout under way is not touched by it.

    Raises UserError where this actor approved nothing.
    """
    from registry.approvals import WITHDRAWN, person

    platform.workspace.require_model(model)
    body = _subject(platform, model, release) | {"reason": reason}
    given = _approvals(platform, model, release, promoter="").given
    if person(platform.actor) not in {person(approval.actor) for approval in given}:
        raise UserError(f"{platform.actor} has not approved release {release}", where=model)
    platform.append(model, WITHDRAWN, body)
    return standing(platform, model, release)


def standing(platform: Platform, model: str, release: int) -> dict[str, Any]:
    """Which approvals of the release there are, which count, and how many are missing."""
    found = _approvals(platform, model, release, promoter="")
    return {
        "model": model,
        **_subject(platform, model, release),
        "needed": found.needed,
        "missing": found.missing,
        "approvals": [
            {"actor": one.actor, "at": one.at, "counts": one.counts, "why_not": one.why_not}
            for one in found.given
        ],
    }


def require_promotable(
    platform: Platform, model: str, variant: str, artifact: str, release: int, reason: str
) -> None:
    """Raise UserError unless this actor may promote it now, with all approvals there."""
    if not release:
        platform.permit(model, "release-published")
    policy = platform.guard.policy
    if policy is None:
        return
    plan = load_model_config(platform.workspace, model).rollout
    if release:
        platform.catalog(model).require_release(model, release)
    chosen = chosen_release(platform, model, variant, artifact, release)
    if chosen["publishes"] and policy.production_of(model).approvals:
        raise UserError(
            f"{chosen['variant']} is no release yet that others could approve",
            where=model,
            remedy=f"`sluice publish {model} -v {chosen['variant']}`, then ask somebody else for "
            f"`sluice approve {model} {chosen['release']}`",
        )
    body = {"candidate": chosen["release"], "plan": plan.model_dump(mode="json"), "reason": reason}
    platform.permit(model, "rollout-started", body)


def _subject(platform: Platform, model: str, release: int) -> dict[str, Any]:
    record = platform.catalog(model).require_release(model, release)
    return {"release": release, "manifest_digest": record.manifest_digest}


def _approvals(platform: Platform, model: str, release: int, *, promoter: str) -> Approvals:
    from registry.access import Production
    from registry.approvals import KINDS, approvals_of

    policy = platform.guard.policy
    rule = policy.production_of(model) if policy else Production()
    entries = [entry for entry in platform.journal.read(model) if entry.kind in KINDS]
    return approvals_of(entries, rule, release=release, promoter=promoter, now=time.time())


def _refuse_own(platform: Platform, model: str, release: int) -> None:
    """Who registered the artifact cannot be the second person, where the policy says so."""
    from registry.approvals import person

    policy = platform.guard.policy
    catalog = platform.catalog(model)
    artifact = catalog.require_release(model, release).artifact
    registered = [
        entry.actor
        for entry in platform.journal.read(model)
        if entry.kind == "artifact-registered" and entry.body["digest"] == artifact
    ]
    distinct = policy is not None and policy.production_of(model).distinct
    if distinct and registered and person(registered[-1]) == person(platform.actor):
        raise UserError(
            f"{platform.actor} registered this artifact, so the approval would not count",
            where=model,
            remedy="let somebody else approve it",
        )
