"""One set scored in parts at a time, each by a private revision of its own, through Prefect.

The parts are tasks: threads of this process, or a Dask cluster's processes. All of them write to
one store of answers, so what a part answered is kept whatever becomes of the others, and the whole
is what one part alone would have found.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from pipelines.answer_store import AnswerStore, Progress
from pipelines.assembly import Platform
from pipelines.data import load_dataset
from pipelines.model_config import load_model_config
from pipelines.scoring import Case, Scored, score_part
from pipelines.task_runners import contiguous, task_runner
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect.futures import PrefectFuture

    from registry.fan_out_settings import EvaluationSection
    from validation.dataset import Utterance

_POLL_S = 0.5


def score_shards(
    case: Case, absent: Sequence[Utterance], section: EvaluationSection
) -> list[Scored]:
    """Score `absent` in at most `section.shards` contiguous parts; see `scoring.score_part`.

    Raises UserError when the runner is not installed, and what a part raised.
    """
    place = {one.id: number for number, one in enumerate(case.dataset.utterances)}
    parts = contiguous([place[one.id] for one in absent], section.shards)
    score_in_parts = score_parts.with_options(task_runner=task_runner(section, "evaluation"))
    return score_in_parts(
        str(case.platform.workspace.root),
        case.model,
        case.variant_digest,
        str(case.dataset.folder),
        case.dataset.sha256,
        [(part[0], part[-1] + 1) for part in parts],
        str(case.store.folder),
    )


@flow(name="score-shards", validate_parameters=False)
def score_parts(
    workspace: str,
    model: str,
    variant_digest: str,
    dataset: str,
    sha256: str,
    parts: list[tuple[int, int]],
    store: str,
) -> list[Scored]:
    """Score each part, from one number in the set up to another, as a task of its own."""
    futures = [
        score_shard.submit(workspace, model, variant_digest, dataset, sha256, part)
        for part in parts
    ]
    _watch(futures, Progress(sum(end - begin for begin, end in parts)), AnswerStore(Path(store)))
    return [future.result() for future in futures]


@task(name="score-shard", cache_policy=NO_CACHE)
def score_shard(
    workspace: str,
    model: str,
    variant_digest: str,
    dataset: str,
    sha256: str,
    part: tuple[int, int],
) -> Scored:
    """Score what nobody answered yet of one part."""
    case = _case(workspace, model, variant_digest, dataset, sha256)
    known = case.store.read()
    begin, end = part
    absent = [one for one in case.dataset.utterances[begin:end] if one.id not in known]
    return score_part(case, absent, tell=False)


def _case(workspace: str, model: str, variant_digest: str, dataset: str, sha256: str) -> Case:
    platform = Platform(Workspace(Path(workspace)))
    config = load_model_config(platform.workspace, model)
    loaded = load_dataset(config, Path(dataset), sha256)
    return Case(platform, model, config, variant_digest, loaded)


def _watch(futures: Sequence[PrefectFuture[Any]], progress: Progress, store: AnswerStore) -> None:
    """Say how far all parts are until each has ended. Their own deadlines bound it."""
    from prefect.futures import wait

    known = store.count()
    while wait(list(futures), timeout=_POLL_S).not_done:
        progress.tell(store.count() - known)
