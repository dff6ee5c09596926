"""What `sluice promote --dry-run` tells: every effect in order, with nothing published or moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canary.rehearsal import rehearse
from pipelines.model_config import load_model_config
from registry.errors import ConflictError, UserError

if TYPE_CHECKING:
    from canary.plan import RolloutPlan
    from pipelines.assembly import Platform


def rehearse_promotion(
    platform: Platform, model: str, *, variant: str = "", artifact: str = "", release: int = 0
) -> dict[str, Any]:
    """The release that would be rolled out, and what the rollout would do.

    Raises what a promotion would be refused with: ConflictError while a rollout is under way,
    UserError for a release that is live or was not published, or where nothing passed its gate.
    """
    plan = load_model_config(platform.workspace, model).rollout
    serving = _where(platform, plan).serving(model)
    if serving.rollout is not None:
        raise ConflictError(
            f"release {serving.rollout.candidate} is being rolled out ({serving.rollout.phase})",
            where=model,
            remedy="wait for it with `--wait`, `sluice resume` it or `sluice abort` it",
        )
    chosen = chosen_release(platform, model, variant, artifact, release)
    if chosen["release"] == serving.live:
        raise UserError(f"release {serving.live} is live already", where=model)
    rehearsal = rehearse(serving, chosen["release"], plan.model_copy(update={"waves": ()}))
    told = {"model": model, **chosen, **rehearsal.to_json()}
    if not plan.waves:
        return told
    bound = plan.false_rollback_bound(plan.alpha)
    return told | {"waves": list(plan.waves), "false_rollback_at_most": bound}


def _where(platform: Platform, plan: RolloutPlan) -> Platform:
    """Where it would begin: the first region of the waves, else the workspace itself.

    Raises UserError when the plan names a region that the workspace has not.
    """
    if not plan.waves:
        return platform
    from pipelines.waves.platforms import RegionPlatform
    from registry.regions import check_regions

    check_regions(platform.workspace, plan.waves, where="[rollout] waves")
    return RegionPlatform(platform, plan.waves[0])


def chosen_release(
    platform: Platform, model: str, variant: str, artifact: str, release: int
) -> dict[str, Any]:
    """The release's number, its variant, and whether it would have to be published first."""
    catalog = platform.catalog(model)
    if release:
        body = catalog.require_release(model, release).body
        return {"release": release, "variant": body["variant"], "publishes": False}
    from pipelines.publish import passed_gate

    passed = passed_gate(catalog, model, artifact, variant)
    serve = load_model_config(platform.workspace, model).serve_digest
    identity = (passed.variant_digest, passed.report_digest, serve)
    published = catalog.release_of(*identity)
    if published is not None:
        number = published.body["release"]
        return {"release": number, "variant": passed.variant, "publishes": False}
    reserved = catalog.reserved_release(*identity)
    number = catalog.next_release if reserved is None else reserved
    return {"release": number, "variant": passed.variant, "publishes": True}
