"""What `sluice status` shows, read from the journal and the supervisor, without heavy engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.platform import Platform

if TYPE_CHECKING:
    from registry.workspace import Workspace


def overview(workspace: Workspace, only: str = "") -> dict[str, Any]:
    """Addresses of the running engines and one row for each model (or for `only`).

    Raises UserError when `only` has no policy file.
    """
    from infra.local.stack import status

    platform = Platform(workspace)
    state = status(workspace)
    models = sorted({file.stem for file in workspace.models.glob("*.toml")})
    if only:
        workspace.require_model(only)
        models = [only]
    return {
        "addresses": dict(state.addresses),
        "models": [_row(platform, model, state.revisions.get(model, {})) for model in models],
    }


def _row(platform: Platform, model: str, revisions: dict[int, str]) -> dict[str, Any]:
    serving = platform.serving(model)
    catalog = platform.catalog(model)
    live = catalog.releases.get(serving.live) if serving.live is not None else None
    rollout = serving.rollout
    return {
        "model": model,
        "live": serving.live,
        "variant": live.variant if live else None,
        "route": " ".join(f"{s.release}:{s.weight}%" for s in serving.route.shares)
        if serving.route
        else None,
        "rollout": f"{rollout.candidate} {rollout.phase}" if rollout else None,
        "revisions": " ".join(f"{release}:{state}" for release, state in revisions.items()),
        "rollout_reason": rollout.reason if rollout else "",
    }
