"""Flow: a folder becomes an artifact, known by its digest to the store, MLflow and the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from pipelines.assembly import Platform
from pipelines.conversion.kinds import kind_of
from pipelines.model_config import load_model_config
from pipelines.stages import Stages
from registry.prefetch import prefetch
from registry.workspace import Workspace


@task(name="inspect-source", cache_policy=NO_CACHE)
def inspect_source(kind: str, source: str) -> dict[str, Any]:
    """What the folder says about itself; refuses what is not a whole model of `kind`."""
    return dict(kind_of(kind).inspect(Path(source)))


@task(name="store-artifact", cache_policy=NO_CACHE)
def store_artifact(workspace: str, source: str) -> str:
    """Hash and copy the folder into the store in one pass; returns its digest."""
    return Platform(Workspace(Path(workspace))).store.add(Path(source)).digest


@task(name="register-version", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=1)
def register_version(
    workspace: str, model: str, digest: str, tags: dict[str, str]
) -> dict[str, Any]:
    """Make the MLflow run and version for `digest`, or find the one that is there."""
    platform = Platform(Workspace(Path(workspace)))
    with platform.scratch("register") as work:
        manifest = platform.store.checkout(digest, work / "artifact")
        version = platform.tracking.register(model, work / "artifact", manifest, tags)
    platform.tracking.set_alias(model, "candidate", version.version)
    return {"version": version.version, "run_id": version.run_id, "created": version.created}


@flow(name="register", flow_run_name="register-{model}")
def register(workspace: str, model: str, source: str, actor: str = "") -> dict[str, Any]:
    """Register the folder `source` as an artifact of `model`.

    Returns digest, MLflow version, run, bytes, files, facts of the source, seconds by stage, and
    `created`: False when the same bytes were registered before.
    """
    prefetch("mlflow")
    stages = Stages()
    platform = Platform(Workspace(Path(workspace)), actor=actor)
    config = load_model_config(platform.workspace, model)
    with stages.stage("inspect", f"Reading {source}"):
        facts = inspect_source(config.kind, source)
    with stages.stage("hash", "Hashing and storing"):
        digest = store_artifact(workspace, source)
    manifest = platform.store.manifest(digest)
    with stages.stage("register", "Registering in MLflow"):
        tags = {"kind": config.kind, "source": source, "actor": platform.actor}
        registered = register_version(workspace, model, digest, tags)
    body: dict[str, Any] = {
        "digest": digest,
        "kind": config.kind,
        "source": source,
        "version": registered["version"],
        "run_id": registered["run_id"],
        "bytes": manifest.size,
        "files": len(manifest.files),
    }
    created = digest not in platform.catalog(model).artifacts
    if created:
        platform.append(model, "artifact-registered", body)
    return body | {"created": created, "facts": facts, "stages": stages.seconds}
