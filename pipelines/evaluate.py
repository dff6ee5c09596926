"""Flow: metrics of a variant on any dataset, scored as a gate would, without a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from pipelines.assembly import Platform
from pipelines.convert import chosen_artifact
from pipelines.data import load_dataset
from pipelines.gate import chosen_variant
from pipelines.model_config import load_model_config
from pipelines.scoring import score
from pipelines.stages import Stages
from registry.errors import PermanentEngineError
from registry.workspace import Workspace
from validation.metrics import metrics_of
from validation.scoring import Mismatch, score_answers
from validation.slices import whole


@flow(name="evaluate", flow_run_name="evaluate-{model}-{variant}")
def evaluate(
    workspace: str, model: str, variant: str, dataset: str, artifact: str = "", actor: str = ""
) -> dict[str, Any]:
    """Metrics of the answers, how many failed, seconds, and every answer."""
    stages = Stages()
    platform = Platform(Workspace(Path(workspace)), actor=actor)
    config = load_model_config(platform.workspace, model)
    catalog = platform.catalog(model)
    record = chosen_variant(catalog, model, chosen_artifact(catalog, model, artifact), variant)
    with stages.stage("dataset", "Reading the dataset"):
        loaded = load_dataset(config, Path(dataset))
    with stages.stage("evaluate", f"Starting a private revision: {variant}"):
        scored = score(platform, model, record.digest, loaded)
    answers = scored.answers
    scores = score_answers(loaded, answers, config.gate.normaliser)
    if isinstance(scores, Mismatch):
        raise PermanentEngineError(scores.reason, where=model)
    metrics = metrics_of(scores, (whole(loaded),), ())
    return {
        "model": model,
        "variant": variant,
        "variant_digest": record.digest,
        "dataset_sha256": loaded.sha256,
        "utterances": len(answers),
        "failed": sum(answer.failed for answer in answers),
        "metric": scores.metric,
        "metrics": metrics,
        "load_s": scored.load_s,
        "score_s": scored.score_s,
        "cached": not scored.asked,
        "answers": [
            {"id": answer.id, "text": answer.text, "error": answer.error} for answer in answers
        ],
        "stages": stages.seconds,
    }
