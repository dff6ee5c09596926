"""Flow: a variant's verdict, from answers that a private revision gave to the pinned set."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from pipelines.assembly import Platform
from pipelines.conversion.kinds import kind_of
from pipelines.convert import chosen_artifact
from pipelines.model_config import load_model_config
from pipelines.scoring import load_dataset, score
from pipelines.stages import Stages
from registry.errors import UserError
from registry.files import canonical_json, write_atomic
from registry.prefetch import prefetch, prefetched
from registry.workspace import Workspace
from validation.contracts import check_contract
from validation.gate import GateReport, judge
from validation.report import markdown_summary

if TYPE_CHECKING:
    from registry.catalog import Catalog, VariantRecord
    from validation.answers import Answer
    from validation.dataset import Dataset


@flow(name="gate", flow_run_name="gate-{model}-{variant}")
def gate(
    workspace: str, model: str, variant: str, artifact: str = "", actor: str = ""
) -> dict[str, Any]:
    """Judge one variant of the newest artifact, or of `artifact`, by `[gate]` of the policy.

    Returns the report, its digest, seconds by stage, and the folder that keeps the evidence.
    """
    prefetch("great_expectations", "mlflow")
    stages = Stages()
    platform = Platform(Workspace(Path(workspace)), actor=actor)
    config = load_model_config(platform.workspace, model)
    catalog = platform.catalog(model)
    candidate = chosen_variant(catalog, model, chosen_artifact(catalog, model, artifact), variant)
    with stages.stage("dataset", "Reading and hashing the evaluation set"):
        folder = platform.workspace.root / config.gate.dataset
        dataset = load_dataset(config, folder, config.gate.sha256)
        refuse_calibrated(platform, candidate, dataset)
    answers: dict[str, tuple[Answer, ...]] = {}
    for role, record in _contestants(platform, config.kind, model, candidate).items():
        with stages.stage("evaluate", f"Starting a private revision: {role} {record.variant}"):
            answers[role], _ = score(platform, model, record.digest, dataset)
    with stages.stage("judge", "Judging"):
        prefetched()
        report = judge(
            config.gate,
            dataset,
            answers["candidate"],
            # The reference conversion is its own parent: nothing is nearer to the source.
            parent=answers.get("parent", answers["candidate"]),
            production=answers.get("production"),
            contract=check_contract(dataset, config.gate),
            digests={"artifact": candidate.artifact, "variant": candidate.digest},
        )
        digest = keep_evidence(platform, report, answers["candidate"])
    with stages.stage("record", "Keeping the report in MLflow"):
        run = catalog.artifacts[candidate.artifact].run_id
        folder = platform.workspace.reports / digest
        platform.tracking.log_report(run, folder / "report.json", f"gates/{variant}.json")
        metrics = {f"{variant}.{name}": value for name, value in report.metrics.items()}
        platform.tracking.log_metrics(run, metrics)
        publish_summary(f"gate-{model}-{variant}", markdown_summary(report))
    platform.append(model, "gate-decided", _journal_body(candidate, report, digest))
    return {
        "model": model,
        "variant": variant,
        "variant_digest": candidate.digest,
        "report": report.to_dict(),
        "report_digest": digest,
        "evidence": str(folder),
        "stages": stages.seconds,
    }


def chosen_variant(catalog: Catalog, model: str, artifact: str, variant: str) -> VariantRecord:
    """The newest conversion of `artifact` to `variant`. Raises UserError when there is none."""
    record = catalog.find_variant(artifact, variant)
    if record is None:
        raise UserError(
            f"artifact {artifact[:12]} has no variant {variant!r}",
            where=model,
            remedy=f"run `sluice convert {model} --variant {variant}`",
        )
    return record


def keep_evidence(platform: Platform, report: GateReport, answers: tuple[Answer, ...]) -> str:
    """Write report and answers below `reports/DIGEST/`; returns the report's digest."""
    content = report.to_json()
    digest = hashlib.sha256(content).hexdigest()
    folder = platform.workspace.reports / digest
    records = [dataclasses.asdict(answer) for answer in answers]
    write_atomic(folder / "answers.json", canonical_json(records))
    write_atomic(folder / "report.json", content)
    return digest


@task(name="publish-summary", cache_policy=NO_CACHE)
def publish_summary(key: str, markdown: str) -> None:
    """Show the summary on Prefect's page."""
    create_markdown_artifact(key=key, markdown=markdown)


def refuse_calibrated(platform: Platform, variant: VariantRecord, dataset: Dataset) -> None:
    """Raise UserError when the variant was calibrated on an utterance of the set."""
    content = platform.store.read(variant.digest, "variant.json")
    calibration = json.loads(content).get("calibration") or {"items": ()}
    if shared := dataset.shared_with(set(calibration["items"])):
        raise UserError(
            f"{variant.variant} was calibrated on {len(shared)} utterances of the evaluation set, "
            f"such as {shared[0]!r}: it cannot be judged by them",
            where=dataset.name,
            remedy="calibrate on a set that shares nothing with it, and convert again",
        )


def _contestants(
    platform: Platform, kind: str, model: str, candidate: VariantRecord
) -> dict[str, VariantRecord]:
    """Candidate, its reference conversion as parent, and what is in production, each once."""
    catalog = platform.catalog(model)
    contestants = {"candidate": candidate}
    reference = kind_of(kind).reference
    if candidate.variant != reference:
        contestants["parent"] = chosen_variant(catalog, model, candidate.artifact, reference)
    live = platform.serving(model).live
    if live is not None:
        release = catalog.releases[live]
        contestants["production"] = catalog.variant_by_digest(release.variant_digest)
    return contestants


def _journal_body(candidate: VariantRecord, report: GateReport, digest: str) -> dict[str, Any]:
    return {
        "artifact": candidate.artifact,
        "variant": candidate.variant,
        "variant_digest": candidate.digest,
        "verdict": report.verdict.label,
        "report_digest": digest,
        "metrics": dict(report.metrics),
    }
