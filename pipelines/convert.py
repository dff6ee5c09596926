"""Flow: an artifact becomes variants, each made once for one parent, recipe and tool set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from prefect import flow, task
from prefect.cache_policies import INPUTS

from infra.environments.locks import CONVERTERS
from pipelines.assembly import Platform, require_environment
from pipelines.attesting import ATTESTATION, attest_conversion
from pipelines.conversion.child import Calibration, Limits
from pipelines.conversion.child import convert as convert_in_child
from pipelines.conversion.footprint import graphs_in
from pipelines.conversion.footprint import measure as measure_footprint
from pipelines.conversion.kind import Recipe
from pipelines.conversion.kinds import kind_of
from pipelines.conversion.recipes import recipe_key, recipe_of
from pipelines.data import gate_dataset, load_dataset
from pipelines.model_config import ModelConfig, load_model_config
from pipelines.scoring import questions
from pipelines.stages import Stages, announce
from pipelines.task_runners import contiguous, task_runner
from registry.confinement import missing
from registry.errors import UserError
from registry.prefetch import prefetch
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.environments.locks import Environment
    from pipelines.conversion.child import ConvertedVariant
    from registry.catalog import Catalog
    from validation.dataset import Dataset


MEASURING_S = 0.5
"""Measuring of one graph at one batch size."""


@task(name="convert-variants", cache_policy=INPUTS, persist_result=True)
def convert_variants(
    workspace: str, model: str, artifact: str, recipes: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Convert `artifact` in one child process, one variant for each recipe by its key.

    Returns one record for each variant: its digest in the store, format, precision, size in
    bytes, tool versions, seconds and parity against the source.
    """
    platform = Platform(Workspace(Path(workspace)))
    config = load_model_config(platform.workspace, model)
    environment = converter_of(config)
    chosen = [Recipe.from_json(values) for values in recipes.values()]
    with platform.scratch("convert") as work:
        platform.store.checkout(artifact, work / "source")
        feeds = work / "feeds.npz"
        converted = convert_in_child(
            config.kind,
            work / "source",
            chosen,
            work / "variants",
            parent_digest=artifact,
            python=environment.python,
            environment_hash=environment.lock_hash,
            calibration=calibration_of(platform, config, work / "questions.npz"),
            limits=limits_of(config),
            feeds=feeds,
        )
        if walls := missing(converted[0].confined):
            announce(f"This kernel could not keep the conversion from: {', '.join(walls)}")
        return [
            _record(platform, config, artifact, key, variant)
            | {"footprint": footprint_of(config, variant, feeds)}
            for key, variant in zip(recipes, converted, strict=True)
        ]


@flow(name="convert-parts", validate_parameters=False)
def convert_parts(
    workspace: str, model: str, artifact: str, parts: list[dict[str, Any]], *, refresh: bool
) -> list[dict[str, Any]]:
    """Convert each of `parts`, recipes by their keys, as a task of its own; all their records."""
    one = convert_variants.with_options(refresh_cache=refresh)
    futures = [one.submit(workspace, model, artifact, part) for part in parts]
    return [record for future in futures for record in future.result()]


def _in_parts(
    platform: Platform,
    model: str,
    artifact: str,
    recipes: Mapping[str, dict[str, Any]],
    *,
    refresh: bool = False,
) -> list[dict[str, Any]]:
    """The records of `recipes`, in order, made in as many parts as the settings say."""
    section, root = platform.workspace.settings.conversion, str(platform.workspace.root)
    parts = [dict(part) for part in contiguous(list(recipes.items()), section.shards)]
    if len(parts) == 1:
        one = convert_variants.with_options(refresh_cache=refresh)
        return one(root, model, artifact, parts[0])
    runner = task_runner(section, "conversion")
    announce(f"In {len(parts)} parts at a time")
    in_parts = convert_parts.with_options(task_runner=runner)
    return in_parts(root, model, artifact, parts, refresh=refresh)


def limits_of(config: ModelConfig) -> Limits:
    """Bounds of a converting child."""
    return Limits(int(config.convert.memory_gb * 2**30), config.convert.timeout_s)


def footprint_of(config: ModelConfig, variant: ConvertedVariant, feeds: Path) -> dict[str, float]:
    """Size, load time, latency, throughput and peak memory, measured on real inputs.

    At batch 1 and at the policy's batch. Empty where there is no calibration set to take inputs
    from, and for a variant without graphs.
    """
    if not feeds.exists() or variant.recipe in kind_of(config.kind).passed:
        return {}
    announce(f"Measuring {variant.recipe.variant}")
    return measure_footprint(
        converter_of(config).python,
        variant.folder,
        graphs_in(feeds),
        feeds,
        batch=config.serve.max_batch_size,
        threads=config.serve.threads,
        seconds=MEASURING_S,
    ).flat()


def converter_of(config: ModelConfig) -> Environment:
    """The environment that models of this kind are opened in."""
    return CONVERTERS[kind_of(config.kind).environment]


def calibration_of(platform: Platform, config: ModelConfig, file: Path) -> Calibration | None:
    """The policy's calibration set, its questions written to `file`; None when it names none.

    Raises UserError when the set is not the pinned one, or shares an utterance with the
    evaluation set.
    """
    if not config.convert.calibration:
        return None
    root = platform.workspace.root
    dataset = load_dataset(
        config, root / config.convert.calibration, config.convert.calibration_sha256
    )
    evaluation = gate_dataset(platform, config)
    items = tuple(utterance.sha256 for utterance in dataset.utterances)
    if shared := evaluation.shared_with(set(items)):
        raise UserError(
            f"{len(shared)} utterances are in the evaluation set too, such as {shared[0]!r}",
            where=str(dataset.folder),
            remedy="calibrate on utterances that no gate judges by",
        )
    write_questions(dataset, file)
    return Calibration(file, dataset.sha256, items)


def write_questions(dataset: Dataset, file: Path) -> None:
    """What a client would send of each utterance, as the converter reads it (numpy.savez)."""
    arrays = {
        name: np.array(question[0].decode()) if question.dtype == np.object_ else question
        for name, question in questions(dataset)
    }
    np.savez(file, allow_pickle=False, **arrays)


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
    platform.permit(model, "variant-converted")
    config = load_model_config(platform.workspace, model)
    catalog = platform.catalog(model)
    digest = chosen_artifact(catalog, model, artifact)
    names = dict.fromkeys(variants or config.convert.variants)
    recipes = {
        recipe_key_of(config, digest, recipe): recipe
        for recipe in (recipe_of(config.kind, name) for name in names)
    }
    missing = {
        key: recipe.to_json()
        for key, recipe in recipes.items()
        if not _is_made(platform, catalog, key)
    }
    made_now = [recipes[key].variant for key in missing]
    if missing:
        require_environment(converter_of(config))
        prefetch("mlflow")
        with stages.stage("convert", f"Converting to {', '.join(made_now)}"):
            records = _in_parts(platform, model, digest, missing)
            if not all(platform.store.has(record["digest"]) for record in records):
                announce("A cached result names files that are gone; converting again")
                records = _in_parts(platform, model, digest, missing, refresh=True)
        for record in records:
            platform.append(model, "variant-converted", record)
        with stages.stage("record", "Recording provenance in MLflow"):
            run = catalog.artifacts[digest].run_id
            for record in records:
                platform.tracking.log_record(run, record, f"variants/{record['variant']}.json")
    made = platform.catalog(model)
    return {
        "artifact": digest,
        "made": sorted(made_now),
        "variants": [dict(made.require_recipe(key).body) for key in recipes],
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
    platform: Platform, config: ModelConfig, artifact: str, key: str, variant: ConvertedVariant
) -> dict[str, Any]:
    """Keep the variant's files and state how they were made; returns what the journal says."""
    manifest = platform.store.add(variant.folder)
    record = {
        "artifact": artifact,
        "variant": variant.recipe.variant,
        "digest": manifest.digest,
        "recipe_key": key,
        "recipe": variant.recipe.to_json(),
        "format": variant.recipe.format,
        "precision": variant.recipe.precision,
        "bytes": manifest.size,
        "tool_versions": dict(variant.tool_versions),
        "seconds": round(variant.seconds, 3),
        "parity": dict(variant.parity),
        "confined": variant.confined,
    }
    stated = attest_conversion(
        platform,
        record,
        kind=config.kind,
        environment=converter_of(config).lock_hash,
        calibration=config.convert.calibration_sha256 if variant.recipe.is_calibrated else "",
    )
    return record | {ATTESTATION: stated}


def recipe_key_of(config: ModelConfig, digest: str, recipe: Recipe) -> str:
    """The key of what `recipe` makes of the artifact now."""
    return recipe_key(
        config.kind,
        digest,
        recipe,
        converter_of(config).lock_hash,
        config.convert.calibration_sha256,
    )


def _is_made(platform: Platform, catalog: Catalog, key: str) -> bool:
    record = catalog.find_recipe(key)
    return record is not None and platform.store.has(record.digest)
