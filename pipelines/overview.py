"""What `sluice status` shows, read from the journal and the supervisor, without heavy engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canary.phases import Phase
from infra.local.envoy import PROGRAM as FRONT_DOOR
from pipelines.assembly import Platform
from pipelines.waves.overview import regions_view

if TYPE_CHECKING:
    from canary.states import Rollout
    from drift.case import DriftState
    from infra.local.stack import StackStatus
    from pipelines.model_states import ModelState
    from registry.workspace import Workspace


def overview(workspace: Workspace, only: str = "") -> dict[str, Any]:
    """Addresses of the running engines and one row for each model (or for `only`).

    And for `only` one for each of its revisions, asked of its server. Raises UserError when
    `only` has no policy file.
    """
    from infra.local.stack import status
    from pipelines.model_states import read_states

    platform = Platform(workspace)
    state = status(workspace)
    if only:
        workspace.require_model(only)
    revisions = [f"{model} {release}" for model, release in state.revisions]
    warm: dict[str, list[int]] = {}
    for model, release in state.revisions:
        warm.setdefault(model, []).append(release)
    states = read_states(platform.journal, [only] if only else workspace.model_names())
    regions, waves = regions_view(platform, only) if only else ([], "")
    return {
        "addresses": addresses(state),
        "ready": state.ready,
        "revisions": revisions,
        "serving": [_revision(platform, only, one) for one in platform.fleet.running(only)]
        if only
        else [],
        "models": [
            _row(workspace, model, one, warm.get(model, [])) for model, one in states.items()
        ],
        "regions": regions,
        "waves": waves,
    }


PAGE = "drift.html"
"""Of the last drift check, below its model's reports."""


def _revision(platform: Platform, model: str, release: int) -> dict[str, Any]:
    """State, devices that really answer, memory held, and what the response cache did.

    What a fleet does not know is empty, 0 or None.
    """
    from infra.local.fleet import LocalFleet
    from infra.local.triton_api import CacheStatistics

    fleet = platform.fleet
    status = fleet.status(model, release)
    cache = fleet.cache(model, release) if isinstance(fleet, LocalFleet) else CacheStatistics()
    asked = cache.hits + cache.misses
    return {
        "release": release,
        "state": status.state.value,
        "devices": list(status.devices),
        "memory_bytes": status.memory_bytes,
        "cache_hits": cache.hits,
        "cache_misses": cache.misses,
        "cache_hit_rate": cache.hits / asked if asked else None,
    }


def addresses(state: StackStatus) -> dict[str, str]:
    """Where a person or a client finds each running service."""
    found = {}
    for service in state.services:
        # Clients of the front door want host and port; it speaks REST and gRPC alike.
        name, address = service.name, service.url
        if name == FRONT_DOOR:
            name, address = "front door", address.removeprefix("http://")
        found[name] = address if service.ready else f"not ready: {service.detail}"
    return found


def _row(
    workspace: Workspace, model: str, state: ModelState, revisions: list[int]
) -> dict[str, Any]:
    serving = state.serving
    rollout = serving.rollout
    return {
        "model": model,
        "live": serving.live,
        "variant": state.variants.get(serving.live or 0),
        "route": " ".join(f"{s.release}:{s.weight}%" for s in serving.route or ()),
        "rollout": f"{rollout.candidate} {rollout.phase}" if rollout else None,
        "revisions": " ".join(map(str, sorted(revisions))),
        "rollout_reason": standing(rollout) if rollout else "",
        "drift": drift_standing(workspace, state.drift),
    }


def drift_standing(workspace: Workspace, state: DriftState) -> dict[str, Any]:
    """The open drift case in a sentence, empty when there is none, and the page of the last check.

    `page` is empty before the first one.
    """
    case, page = state.case, workspace.reports / "drift" / state.model / PAGE
    told = ""
    if case is not None:
        taken = f"taken by {case.acknowledged_by}" if case.acknowledged_by else "taken by nobody"
        found = f", {case.attribution}" if case.attribution else ""
        told = f"case {case.number}, {case.severity}{found}, release {case.release}, {taken}"
    return {"case": told, "page": str(page) if page.is_file() else ""}


def standing(rollout: Rollout) -> str:
    """What a rollout does now, in a sentence: who it waits for, what it copies, why it stands."""
    candidate, step = rollout.candidate, rollout.step + 1
    if rollout.phase is not Phase.SHIFTING:
        return rollout.reason
    if rollout.skip_is_due and rollout.skip is not None:
        return f"leaves step {step}, as {rollout.skip.by} asked: {rollout.skip.reason}"
    if rollout.waits and not rollout.approved_by:
        who = " or ".join(rollout.current.who) or "anybody"
        return f"step {step} waits for {who}: `sluice resume`, or `sluice rollback`"
    if mirror := rollout.mirror:
        needed = rollout.current.min_pairs
        pairs = f"{rollout.step_pairs} of {needed}" if needed else str(rollout.step_pairs)
        return (
            f"step {step} shadows: release {candidate} gets copies of {mirror.percent} %, "
            f"{pairs} answered by both"
        )
    return rollout.reason
