"""Flow: an artifact becomes variants, each made once for one parent, recipe and tool set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import INPUTS

from infra.environments.locks import CONVERTER
from pipelines.assembly import Platform, require_environment
from pipelines.conversion.child import Limits
from pipelines.conversion.child import convert as convert_in_child
from pipelines.conversion.recipes import recipe_key, recipe_of
from pipelines.model_config import ModelConfig, load_model_config
from pipelines.stages import Stages, announce
from registry.errors import UserError
from registry.prefetch import prefetch
from registry.workspace import Workspace

if TYPE_CHECKING:
    from pipelines.conversion.child import ConvertedVariant
    from registry.catalog import Catalog
    from registry.store import ContentStore


@task(name="convert-variants", cache_policy=INPUTS, persist_result=True)
def convert_variants(
    workspace: str, model: str, artifact: str, recipe_keys: dict[str, str]
) -> list[dict[str, Any]]:
    """Convert `artifact` in one child process, one variant for each of `recipe_keys`.

    Returns one record for each variant: its digest in the store, format, precision, size in
    bytes, tool versions, seconds and parity against the source.
    """
    platform = Platform(Workspace(Path(workspace)))
    config = load_model_config(platform.workspace, model)
    with platform.scratch("convert") as work:
        platform.store.checkout(artifact, work / "source")
        converted = convert_in_child(
            config.kind,
            work / "source",
            tuple(recipe_keys),
            work / "variants",
            parent_digest=artifact,
            python=CONVERTER.python,
            environment_hash=CONVERTER.lock_hash,
            limits=Limits(int(config.convert.memory_gb * 2**30), config.convert.timeout_s),
        )
        return [
            _record(artifact, recipe_keys[variant.variant], variant, platform.store)
            for variant in converted
        ]


@flow(name="convert", flow_run_name="convert-{model}")
def convert(
    workspace: str,
    model: str,
    variants: list[str] | None = None,
    artifact: str = "",
    actor: str = "",
) -> dict[str, Any]:
    """Make the named variants, or those of the policy, of the newest artifact or of `artifact`.

    Returns the records of all asked variants, which of them were made now, and seconds by stage.
    """
    stages = Stages()
    platform = Platform(Workspace(Path(workspace)), actor=actor)
    config = load_model_config(platform.workspace, model)
    catalog = platform.catalog(model)
    digest = chosen_artifact(catalog, model, artifact)
    keys = _recipe_keys(config, digest, variants)
    missing = {name: key for name, key in keys.items() if not _is_made(platform, catalog, key)}
    if missing:
        require_environment(CONVERTER)
        prefetch("mlflow")
        with stages.stage("convert", f"Converting to {', '.join(missing)}"):
            records = convert_variants(workspace, model, digest, missing)
            if not all(platform.store.has(record["digest"]) for record in records):
                announce("A cached result names files that are gone; converting again")
                again = convert_variants.with_options(refresh_cache=True)
                records = again(workspace, model, digest, missing)
        for record in records:
            platform.append(model, "variant-converted", record)
        with stages.stage("record", "Recording provenance in MLflow"):
            run = catalog.artifacts[digest].run_id
            for record in records:
                platform.tracking.log_report(run, record, f"variants/{record['variant']}.json")
    made = platform.catalog(model)
    return {
        "artifact": digest,
        "made": sorted(missing),
        "variants": [dict(made.require_recipe(key).body) for key in keys.values()],
        "stages": stages.seconds,
    }


def chosen_artifact(catalog: Catalog, model: str, prefix: str) -> str:
    """The digest that `prefix` names, or of the newest artifact. Raises UserError."""
    if not catalog.artifacts:
        raise UserError(
            "has no artifact yet", where=model, remedy=f"run `sluice register {model} FOLDER`"
        )
    if not prefix:
        return next(reversed(catalog.artifacts))
    found = [digest for digest in catalog.artifacts if digest.startswith(prefix)]
    if len(found) != 1:
        raise UserError(
            f"{len(found)} artifacts have a digest that begins with {prefix!r}",
            where=model,
            remedy=f"`sluice history {model}` lists them",
        )
    return found[0]


def _record(
    artifact: str, recipe_key: str, variant: ConvertedVariant, store: ContentStore
) -> dict[str, Any]:
    """Keep the variant's files; returns what the journal says of it."""
    manifest = store.add(variant.folder)
    return {
        "artifact": artifact,
        "variant": variant.variant,
        "digest": manifest.digest,
        "recipe_key": recipe_key,
        "format": variant.format,
        "precision": variant.precision,
        "bytes": manifest.size,
        "tool_versions": dict(variant.tool_versions),
        "seconds": round(variant.seconds, 3),
        "parity": dict(variant.parity),
    }


def _recipe_keys(config: ModelConfig, digest: str, variants: list[str] | None) -> dict[str, str]:
    names = list(dict.fromkeys(variants or config.convert.variants))
    return {
        name: recipe_key(digest, recipe_of(config.kind, name), CONVERTER.lock_hash)
        for name in names
    }


def _is_made(platform: Platform, catalog: Catalog, key: str) -> bool:
    record = catalog.find_recipe(key)
    return record is not None and platform.store.has(record.digest)
