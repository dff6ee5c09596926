"""What is scored is what serves: a variant answers a dataset through a private Triton revision."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import INPUTS

from infra.environments.locks import SERVING
from model_repository.config import Batching
from model_repository.publishing import program_digest
from pipelines.assembly import Platform, require_environment
from pipelines.model_config import ServePolicy, load_model_config
from pipelines.stages import announce
from registry.workspace import Workspace
from validation.answers import Answer
from validation.dataset import SpeechDataset

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

SCORING_TIMEOUT_S = 600.0


@task(name="score-variant", cache_policy=INPUTS, persist_result=True)
def score_variant(
    workspace: str, model: str, variant_digest: str, dataset: str, identity: dict[str, Any]
) -> dict[str, Any]:
    """Answers of a variant to every utterance of `dataset`, with seconds to load and to score.

    `identity` holds all else that decides the answers (the dataset's hash, the serving program
    and environment, the batching), so that a cached result is never another one's.
    """
    platform = Platform(Workspace(Path(workspace)))
    config = load_model_config(platform.workspace, model)
    utterances = SpeechDataset.load(Path(dataset), identity["dataset"])
    with platform.scratch("score") as work:
        platform.store.checkout(variant_digest, work / "variant")
        return _score(work, model, config.kind, config.serve, utterances)


def score(
    platform: Platform, model: str, variant_digest: str, dataset: SpeechDataset
) -> tuple[tuple[Answer, ...], dict[str, float]]:
    """Score through the cached task. Returns the answers, and `load_s` and `score_s`.

    Raises EngineError when the revision does not start, which no cached result hides.
    """
    require_environment(SERVING)
    config = load_model_config(platform.workspace, model)
    identity = {
        "dataset": dataset.sha256,
        "program": program_digest(config.kind),
        "environment": SERVING.lock_hash,
        "serve": config.serve.model_dump(mode="json"),
    }
    root = str(platform.workspace.root)
    result = score_variant(root, model, variant_digest, str(dataset.folder), identity)
    answers = tuple(Answer(**answer) for answer in result["answers"])
    return answers, {"load_s": result["load_s"], "score_s": result["score_s"]}


def batching_of(serve: ServePolicy) -> Batching:
    """The policy as the repository's configuration takes it."""
    return Batching(**serve.model_dump())


def _score(
    work: Path, model: str, kind: str, serve: ServePolicy, dataset: SpeechDataset
) -> dict[str, Any]:
    from infra.inference import score as score_through
    from infra.local.private_revision import PrivateRevision
    from model_repository.publishing import build_private

    repository = build_private(
        work / "repository", work / "variant", model, kind=kind, batching=batching_of(serve)
    )
    started = time.perf_counter()
    with PrivateRevision(repository, model, log=work / "triton.log") as revision:
        loaded = time.perf_counter()
        announce(f"Scoring {len(dataset.utterances)} utterances")
        answers = score_through(
            revision.grpc_address,
            model,
            _waveforms(dataset),
            in_flight=2 * serve.max_batch_size,
            timeout_s=SCORING_TIMEOUT_S,
        )
        scored = time.perf_counter()
    return {
        "answers": [dataclasses.asdict(answer) for answer in answers],
        "load_s": round(loaded - started, 3),
        "score_s": round(scored - loaded, 3),
    }


def _waveforms(dataset: SpeechDataset) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for utterance in dataset.utterances:
        yield utterance.id, dataset.waveform(utterance)
