"""Flow: publish the winner and move traffic to it, step by step, or back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from pipelines.approve import require_promotable
from pipelines.assembly import Platform
from pipelines.model_config import load_model_config
from pipelines.notifications import checked_webhook, notifying
from pipelines.publish import publish_variant
from pipelines.stages import Stages
from pipelines.waiting import wait_for
from pipelines.waves.promoting import require_doors, roll_out_in_waves, wait_for_waves
from registry.prefetch import prefetch
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable


@task(name="roll-out", cache_policy=NO_CACHE)
def roll_out(
    workspace: str,
    model: str,
    release: int,
    actor: str,
    *,
    replace: bool = False,
    reason: str = "",
) -> dict[str, Any]:
    """Drive the rollout to its end. Prefect never repeats it: the journal is the truth."""
    platform = Platform(Workspace(Path(workspace)), actor=actor)
    plan = load_model_config(platform.workspace, model).rollout
    with notifying(platform, model):
        if plan.waves:
            return roll_out_in_waves(platform, model, release, plan, replace=replace, reason=reason)
        controller = platform.controller()
        return controller.promote(model, release, plan, replace=replace, reason=reason).to_dict()


def wait_for_rollout(
    platform: Platform,
    model: str,
    timeout_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when no rollout of the model is under way; announces where the one waited for stands.

    Raises ConflictError when it is still there after `timeout_s`.
    """

    def stands() -> str:
        rollout = platform.serving(model).rollout
        if rollout is None:
            return ""
        return f"release {rollout.candidate} is {rollout.phase}, gets {rollout.weight} %"

    remedy = f"`sluice abort {model}` ends it, `--replace` does so and goes on"
    wait_for(stands, timeout_s, model=model, remedy=remedy, clock=clock, sleep=sleep)


@flow(name="promote", flow_run_name="promote-{model}")
def promote(  # noqa: PLR0913 - a flow's parameters are those of its command
    workspace: str,
    model: str,
    variant: str = "",
    artifact: str = "",
    release: int = 0,
    actor: str = "",
    wait_s: float = 0.0,
    *,
    replace: bool = False,
    reason: str = "",
) -> dict[str, Any]:
    """Publish (unless `release` is given) and roll out. Returns release, outcome and stages.

    A rollout under way is waited for up to `wait_s`, or with `replace` rolled back first. Raises
    UserError, before anything changes, where the actor may not, or approvals are missing.
    """
    prefetch("mlflow")
    stages = Stages()
    platform = Platform(Workspace(Path(workspace)), actor=actor)
    require_promotable(platform, model, variant, artifact, release, reason)
    plan = require_doors(platform, model)
    checked_webhook(platform)
    if wait_s:
        with stages.stage("wait"):
            wait = wait_for_waves if plan.waves else wait_for_rollout
            wait(platform, model, wait_s)
    if release:
        record = platform.catalog(model).require_release(model, release).body
    else:
        record = publish_variant(platform, model, variant, artifact, stages)
    with stages.stage("rollout", f"Rolling out release {record['release']}"):
        outcome = roll_out(
            workspace, model, record["release"], platform.actor, replace=replace, reason=reason
        )
    return {"release": record, "rollout": outcome, "stages": stages.seconds}
