"""Flow: a folder becomes an artifact, known by its digest to the store, MLflow and the journal.

What may come in is decided first, by content, before anything opens or stores it; an archive is
unpacked into a scratch folder, which is then judged as any folder is.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from infra.advisers import Advice, advise
from pipelines.assembly import Platform
from pipelines.byte_progress import ByteProgress
from pipelines.conversion.kinds import kind_of
from pipelines.model_config import load_model_config
from pipelines.stages import Stages
from registry.errors import UserError
from registry.intake.archives import is_archive, unpack
from registry.intake.gatekeeper import Admitted, admit
from registry.manifest import size_of
from registry.prefetch import prefetch
from registry.source_trust import check_source
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator


@task(name="admit-source", cache_policy=NO_CACHE)
def admit_source(folder: str) -> Admitted:
    """What each file of the folder is; refuses the folder when one of them may not come in."""
    return admit(Path(folder))


@task(name="ask-advisers", cache_policy=NO_CACHE)
def ask_advisers(folder: str) -> Advice:
    """What modelscan and fickling say; refuses the folder when one has anything against it."""
    advice = advise(Path(folder))
    if advice.refusals:
        more = len(advice.refusals) - 1
        others = f" (and {more} more)" if more else ""
        raise UserError(
            f"{advice.refusals[0]}{others}",
            where=folder,
            remedy="ask whoever made the model for safetensors or ONNX",
        )
    return advice


@task(name="inspect-source", cache_policy=NO_CACHE)
def inspect_source(kind: str, source: str) -> dict[str, Any]:
    """What the folder says about itself; refuses what is not a whole model of `kind`."""
    return dict(kind_of(kind).inspect(Path(source)))


@task(name="store-artifact", cache_policy=NO_CACHE)
def store_artifact(workspace: str, source: str) -> str:
    """Hash and copy the folder into the store in one pass; returns its digest."""
    folder = Path(source)
    total = sum(size_of(path) for path in folder.rglob("*") if path.is_file())
    progress = ByteProgress("Hashing and storing", total)
    return Platform(Workspace(Path(workspace))).store.add(folder, progress).digest


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
def register(
    workspace: str, model: str, source: str, actor: str = "", signature: str = ""
) -> dict[str, Any]:
    """Register the folder or archive `source` as an artifact of `model`.

    `signature` is the file of its signature, by default `SOURCE.sig` where it lies. Returns digest,
    MLflow version, run, bytes, files, how many of which format, what the advisers could not look
    at, facts of the source, seconds by stage, and `created`: False when the same bytes were
    registered before.
    """
    prefetch("mlflow")
    stages = Stages()
    platform = Platform(Workspace(Path(workspace)), actor=actor)
    platform.permit(model, "artifact-registered")
    config = load_model_config(platform.workspace, model)
    with _folder_of(platform, Path(source), stages) as folder:
        with stages.stage("admit", f"Judging what may come in from {source}"):
            admitted = admit_source(str(folder))
        with stages.stage("advise", "Asking modelscan and fickling"):
            advice = ask_advisers(str(folder))
        with stages.stage("inspect", f"Reading {source}"):
            facts = inspect_source(config.kind, str(folder))
        with stages.stage("hash", "Hashing and storing"):
            digest = store_artifact(workspace, str(folder))
            admitted.check_unchanged()
        manifest, known = platform.store.manifest(digest), platform.catalog(model).artifacts
        signed = check_source(
            platform.workspace,
            model,
            Path(source),
            manifest,
            unpacked=folder,
            signature=Path(signature) if signature else None,
            earlier=[one.body for one in known.values()],
        )
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
        "formats": admitted.formats,
        "advisers": list(advice.versions),
        "not_looked_at": list(advice.not_looked_at),
    }
    body |= {"signature": signed} if signed else {}
    created = digest not in known
    # The same bytes, signed by somebody since, are told again.
    if created or (signed and known[digest].body.get("signature") != signed):
        platform.append(model, "artifact-registered", body)
    return body | {"created": created, "facts": facts, "stages": stages.seconds}


@contextmanager
def _folder_of(platform: Platform, source: Path, stages: Stages) -> Iterator[Path]:
    """The folder `source`, or what an archive unpacks to for as long as the block lasts."""
    if not is_archive(source):
        yield source
        return
    with platform.scratch("intake") as work:
        target = work / "unpacked"
        target.mkdir()
        with stages.stage("unpack", f"Unpacking {source}"):
            folder = unpack(source, target)
        try:
            yield folder
        except UserError as error:
            # The scratch folder is gone when this is read; the archive is what a person has.
            where = error.where.replace(str(folder), str(source))
            raise UserError(error.what, where=where, remedy=error.remedy) from error
