"""Flow: a variant's verdict, from answers that a private revision gave to the pinned set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from pipelines.assembly import Platform
from pipelines.attesting import ATTESTATION, attest_gate
from pipelines.conversion.kinds import kind_of
from pipelines.convert import chosen_artifact
from pipelines.cost import priced
from pipelines.data import declared_contents, gate_dataset
from pipelines.drift_reference import NAME as REFERENCE
from pipelines.evidence import Evidence, keep_evidence
from pipelines.gate_reference import keep_reference
from pipelines.model_config import load_model_config
from pipelines.performance import performance_of
from pipelines.scoring import Case, score
from pipelines.stages import Stages, announce
from registry.errors import EngineError, IntegrityError, UserError
from registry.prefetch import prefetch, prefetched
from registry.workspace import Workspace
from validation.contracts import check_contract
from validation.gate import judge
from validation.report import markdown_summary

if TYPE_CHECKING:
    from pipelines.model_config import ModelConfig
    from registry.catalog import Catalog, VariantRecord
    from validation.answers import Answer
    from validation.dataset import Dataset
    from validation.performance import Performance


@flow(name="gate", flow_run_name="gate-{model}-{variant}")
def gate(
    workspace: str, model: str, variant: str, artifact: str = "", actor: str = ""
) -> dict[str, Any]:
    """Judge one variant of the newest artifact, or of `artifact`, by `[gate]` of the policy.

    Returns the report, its digest, seconds by stage, the folder that keeps the evidence, and
    whether everything was known already, so that nothing was asked (`cached`). Raises EngineError
    when a revision of the candidate or its parent does not start; one of what is in production is
    an error in the report.
    """
    prefetch("great_expectations", "mlflow")
    stages = Stages()
    platform = Platform(Workspace(Path(workspace)), actor=actor)
    platform.permit(model, "gate-decided")
    config = load_model_config(platform.workspace, model)
    catalog = platform.catalog(model)
    candidate = chosen_variant(catalog, model, chosen_artifact(catalog, model, artifact), variant)
    with stages.stage("dataset", "Reading and hashing the evaluation set"):
        dataset = gate_dataset(platform, config)
    found = _ask(platform, config, model, candidate, dataset, stages)
    with stages.stage("judge", "Judging"):
        evidence = _judge(platform, config, model, candidate, dataset, found)
        folder = keep_evidence(platform, evidence)
    with stages.stage("record", "Keeping the report in MLflow"):
        _record(platform, catalog, evidence, folder)
    body = _journal_body(evidence)
    stated = attest_gate(platform, body, evidence.report.provenance)
    platform.append(model, "gate-decided", body | {ATTESTATION: stated})
    return {
        "model": model,
        "variant": variant,
        "variant_digest": candidate.digest,
        "report": evidence.report.to_dict(),
        "report_digest": evidence.digest,
        "evidence": str(folder),
        "cached": found.cached,
        "stages": stages.seconds,
    }


def _judge(
    platform: Platform,
    config: ModelConfig,
    model: str,
    candidate: VariantRecord,
    dataset: Dataset,
    found: _Found,
) -> Evidence:
    """The verdict with all that it rests on, and what live traffic will be compared with."""
    prefetched()
    answers = found.answers["candidate"]
    reference = keep_reference(Case(platform, model, config, candidate.digest, dataset), answers)
    digests = {"artifact": candidate.artifact, "variant": candidate.digest}
    contract = check_contract(
        dataset, config.gate, declared=declared_contents(platform, config, candidate)
    )
    report = judge(
        config.gate,
        dataset,
        answers,
        # The reference conversion is its own parent: nothing is nearer to the source.
        parent=found.answers.get("parent", answers),
        production=found.answers.get("production"),
        production_error=found.production_error,
        contract=contract,
        performance=found.performance,
        digests=digests | ({REFERENCE: reference.digest} if reference else {}),
    )
    report = priced(report, platform.workspace)
    return Evidence(
        model,
        candidate,
        dataset,
        config.gate.normaliser,
        found.answers,
        contract,
        report,
        reference.files if reference else {},
    )


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


@task(name="publish-summary", cache_policy=NO_CACHE)
def publish_summary(key: str, markdown: str) -> None:
    """Show the summary on Prefect's page."""
    create_markdown_artifact(key=key, markdown=markdown)


class _Found:
    """What engines said: answers by role, the candidate's figures, and what could not be asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[Answer, ...]] = {}
        self.performance: Performance | None = None
        self.production_error = ""
        self.cached = True


def _ask(
    platform: Platform,
    config: ModelConfig,
    model: str,
    candidate: VariantRecord,
    dataset: Dataset,
    stages: Stages,
) -> _Found:
    """Everything that is not known yet, of every contestant in turn."""
    found = _Found()
    for role, record in _contestants(platform, config.kind, model, candidate).items():
        with stages.stage("evaluate", f"Evaluating {role} {record.variant}"):
            try:
                scored = score(platform, model, record.digest, dataset)
            except (EngineError, IntegrityError) as error:
                if role != "production":
                    raise
                found.production_error = f"what is in production cannot be scored: {error}"
                found.cached = False
                continue
        found.answers[role] = scored.answers
        found.cached &= not scored.asked
    with stages.stage("performance"):
        case = Case(platform, model, config, candidate.digest, dataset)
        found.performance, was_measured = performance_of(case)
        found.cached &= not was_measured
    if found.cached:
        announce("Nothing new to ask: every answer and figure was known")
    return found


def _contestants(
    platform: Platform, kind: str, model: str, candidate: VariantRecord
) -> dict[str, VariantRecord]:
    """Candidate, its reference conversion as parent, and what is in production, each once."""
    catalog = platform.catalog(model)
    contestants = {"candidate": candidate}
    chosen = kind_of(kind)
    reference = chosen.reference
    # The source's own files are as near to it as can be.
    if candidate.variant not in {reference, *(one.variant for one in chosen.passed)}:
        contestants["parent"] = chosen_variant(catalog, model, candidate.artifact, reference)
    live = platform.serving(model).live
    if live is not None:
        release = catalog.releases[live]
        contestants["production"] = catalog.variant_by_digest(release.variant_digest)
    return contestants


def _record(platform: Platform, catalog: Catalog, evidence: Evidence, folder: Path) -> None:
    """Keep the evidence in MLflow, and show its summary on Prefect's page."""
    run, variant = catalog.artifacts[evidence.variant.artifact].run_id, evidence.variant.variant
    platform.tracking.log_files(run, folder, f"gates/{variant}")
    report = evidence.report
    figures = dict(report.metrics)
    if report.performance is not None:
        figures |= report.performance["summary"]
    platform.tracking.log_metrics(
        run, {f"{variant}.{name}": value for name, value in figures.items()}
    )
    summary = markdown_summary(report, model=evidence.model, variant=variant)
    publish_summary(f"gate-{evidence.model}-{variant}", summary)


def _journal_body(evidence: Evidence) -> dict[str, Any]:
    variant, report = evidence.variant, evidence.report
    return {
        "artifact": variant.artifact,
        "variant": variant.variant,
        "variant_digest": variant.digest,
        "verdict": report.verdict.label,
        "report_digest": evidence.digest,
        "reference": report.provenance["digests"].get(REFERENCE, ""),
        "metrics": dict(report.metrics),
    }
