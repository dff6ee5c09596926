"""Flow: publish the winner and move traffic to it, step by step, or back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from infra.local.stack import require_up
from pipelines.assembly import Platform
from pipelines.model_config import load_model_config
from pipelines.publish import publish_variant
from pipelines.stages import Stages
from registry.prefetch import prefetch
from registry.workspace import Workspace


@task(name="roll-out", cache_policy=NO_CACHE)
def roll_out(workspace: str, model: str, release: int, actor: str) -> dict[str, Any]:
    """Drive the rollout to its end. Prefect never repeats it: the journal is the truth."""
    platform = Platform(Workspace(Path(workspace)), actor=actor)
    plan = load_model_config(platform.workspace, model).rollout
    return platform.controller().promote(model, release, plan).to_dict()


@flow(name="promote", flow_run_name="promote-{model}")
def promote(
    workspace: str,
    model: str,
    variant: str = "",
    artifact: str = "",
    release: int = 0,
    actor: str = "",
) -> dict[str, Any]:
    """Publish (unless `release` is given) and roll out. Returns release, outcome and stages."""
    prefetch("mlflow")
    stages = Stages()
    platform = Platform(Workspace(Path(workspace)), actor=actor)
    require_up(platform.workspace)
    if release:
        record = platform.catalog(model).require_release(model, release).body
    else:
        record = publish_variant(platform, model, variant, artifact, stages)
    with stages.stage("rollout", f"Rolling out release {record['release']}"):
        outcome = roll_out(workspace, model, record["release"], platform.actor)
    return {"release": record, "rollout": outcome, "stages": stages.seconds}
