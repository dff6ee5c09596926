"""What is scored is what serves: a variant answers a dataset through a private Triton revision."""

from __future__ import annotations

import dataclasses
import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import INPUTS

from infra.environments.locks import SERVING
from model_repository.publishing import program_digest
from pipelines.assembly import Platform, require_environment
from pipelines.conversion.kinds import kind_of
from pipelines.model_config import ModelConfig, load_model_config
from pipelines.stages import announce
from registry.errors import UserError
from registry.workspace import Workspace
from validation.answers import Answer
from validation.cleaning import measured
from validation.dataset import Dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    utterances = load_dataset(config, Path(dataset), identity["dataset"])
    with platform.scratch("score") as work:
        platform.store.checkout(variant_digest, work / "variant")
        return score_folder(work, model, config, utterances)


def score(
    platform: Platform, model: str, variant_digest: str, dataset: Dataset
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
        "serve": dataclasses.asdict(config.batching),
    }
    root = str(platform.workspace.root)
    result = score_variant(root, model, variant_digest, str(dataset.folder), identity)
    answers = tuple(Answer(**answer) for answer in result["answers"])
    return answers, {"load_s": result["load_s"], "score_s": result["score_s"]}


def load_dataset(config: ModelConfig, folder: Path, sha256: str | None = None) -> Dataset:
    """Read a set that models of this kind answer. Raises UserError for another, or as it does."""
    dataset = Dataset.load(folder, sha256)
    wanted = kind_of(config.kind).dataset
    if dataset.kind != wanted:
        raise UserError(
            f"is a {dataset.kind} set; {config.kind} answers {wanted} sets", where=str(folder)
        )
    return dataset


def questions(dataset: Dataset) -> Iterator[tuple[str, NDArray[Any]]]:
    """What a client would send of each utterance, with its id."""
    for utterance in dataset.utterances:
        yield utterance.id, dataset.question(utterance)


def score_folder(
    work: Path, model: str, config: ModelConfig, dataset: Dataset, timed: int = 0
) -> dict[str, Any]:
    """Answers of the variant in `work/variant`, with seconds to load and to score.

    `alone_ms` are milliseconds of the first `timed` questions, asked one at a time.
    """
    from infra.inference import score as score_through
    from infra.local.private_revision import PrivateRevision
    from model_repository.publishing import build_private

    kind = kind_of(config.kind)
    repository = build_private(
        work / "repository", work / "variant", model, kind=kind.name, batching=config.batching
    )
    started = time.perf_counter()
    with PrivateRevision(repository, model, log=work / "triton.log") as revision:
        loaded = time.perf_counter()
        announce(f"Scoring {len(dataset.utterances)} utterances")
        answers = score_through(
            revision.grpc_address,
            model,
            kind.interface,
            questions(dataset),
            in_flight=2 * config.serve.max_batch_size,
            timeout_s=SCORING_TIMEOUT_S,
        )
        scored = time.perf_counter()
        alone = score_through(
            revision.grpc_address,
            model,
            kind.interface,
            itertools.islice(questions(dataset), timed),
            in_flight=1,
            timeout_s=SCORING_TIMEOUT_S,
        )
    if dataset.kind == "noisy-speech":
        pairs = zip(dataset.utterances, answers, strict=True)
        answers = [measured(dataset, utterance, answer) for utterance, answer in pairs]
    return {
        "answers": [dataclasses.asdict(answer) for answer in answers],
        "load_s": round(loaded - started, 3),
        "score_s": round(scored - loaded, 3),
        "alone_ms": [answer.latency_ms for answer in alone],
    }
