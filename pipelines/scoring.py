"""What is scored is what serves: a variant answers a dataset through a private Triton revision.

What was answered is kept as it comes, by all that decides it, and is never asked for again; so a
killed gate goes on where it was, and one with nothing new to ask starts no server.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.environments.locks import SERVING
from model_repository.publishing import program_digest
from pipelines.answer_store import AnswerStore, Keeper, Progress, forget_unused
from pipelines.assembly import Platform, require_environment
from pipelines.conversion.kinds import kind_of
from pipelines.model_config import ModelConfig, load_model_config
from pipelines.recording import RECORDS, wait_for_records
from pipelines.stages import announce
from validation.cleaning import measured

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from infra.local.private_revision import PrivateRevision
    from model_repository.config import Batching
    from validation.answers import Answer
    from validation.dataset import Dataset, Utterance

ANSWERS = "answers"
"""Folder of the stores in the workspace's state."""
SCORING_TIMEOUT_S = 600.0
"""For one request."""
IN_FLIGHT = 3
"""Batches that are asked for at a time: one computed, one ready, one on its way back."""
_BOUNDS = ("max_live", "max_waiting")
"""Options of programs that refuse what is more than their sum."""
_MEASURING = ("cleaning.py", "enhancement.py", "intelligibility.py")


@dataclass(frozen=True, slots=True)
class Scored:
    """Answers in the set's order, how many of them were asked for now, and seconds.

    `load_s` and `score_s` are 0 when nothing was asked, and sums over shards.
    """

    answers: tuple[Answer, ...]
    asked: int = 0
    load_s: float = 0.0
    score_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """A variant of a model and the set that it answers."""

    platform: Platform
    model: str
    config: ModelConfig
    variant_digest: str
    dataset: Dataset

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the answers, so that stored ones are never another's."""
        return {
            "variant": self.variant_digest,
            "dataset": self.dataset.sha256,
            "program": program_digest(self.config.kind),
            "environment": SERVING.lock_hash,
            "serve": dataclasses.asdict(self.config.batching),
        }

    @property
    def store(self) -> AnswerStore:
        """Where the answers are kept."""
        return AnswerStore.of(self.platform.workspace.state / ANSWERS, self.identity)

    @property
    def records(self) -> Path:
        """Folder of prediction logs, one for each revision that was asked; requests are ids."""
        return self.store.folder / RECORDS


def score(platform: Platform, model: str, variant_digest: str, dataset: Dataset) -> Scored:
    """Every answer of the variant to the set; only what nobody answered yet is asked.

    Raises EngineError or IntegrityError when a revision is needed and does not start, or ends
    while it is asked; what it answered until then is kept.
    """
    config = load_model_config(platform.workspace, model)
    case = Case(platform, model, config, variant_digest, dataset)
    known = case.store.read()
    absent = [one for one in dataset.utterances if one.id not in known]
    parts: list[Scored] = []
    if absent:
        require_environment(SERVING)
        _forget_unused(platform)
        if known:
            announce(f"{len(known)} answers are known: asking for the other {len(absent)}")
        parts = _ask(case, absent)
        passing = {answer.id: answer for part in parts for answer in part.answers}
        known = passing | case.store.read()
    answers = [known[one.id] for one in dataset.utterances]
    return Scored(
        _measured(case, answers),
        asked=len(absent),
        load_s=round(sum(part.load_s for part in parts), 3),
        score_s=round(sum(part.score_s for part in parts), 3),
    )


def _forget_unused(platform: Platform) -> None:
    """Before new answers take room, those that nobody wants any more give theirs."""
    if days := platform.workspace.settings.evaluation.keep_answers_days:
        forget_unused(platform.workspace.state / ANSWERS, since=time.time() - days * 86_400)


def questions(
    dataset: Dataset, utterances: Iterable[Utterance] | None = None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """What a client would send of each utterance, of all when none are named, with its id."""
    for utterance in dataset.utterances if utterances is None else utterances:
        yield utterance.id, dataset.question(utterance)


def requests_in_flight(batching: Batching) -> int:
    """Requests that keep every instance's batches full, as far as the program takes so many."""
    wanted = IN_FLIGHT * batching.instances * batching.max_batch_size
    bounds = [int(batching.options[name]) for name in _BOUNDS if name in batching.options]
    return min(wanted, sum(bounds)) if bounds else wanted


@contextmanager
def private_revision(
    work: Path, model: str, config: ModelConfig, predictions: Path | None = None
) -> Iterator[tuple[PrivateRevision, float]]:
    """The variant in `work/variant` served as the policy says, and the seconds it took to load.

    With `predictions` it writes a prediction log there.
    """
    from infra.local.private_revision import PrivateRevision
    from model_repository.publishing import build_private

    repository = build_private(
        work / "repository", work / "variant", model, kind=config.kind, batching=config.batching
    )
    started = time.perf_counter()
    log = work / "triton.log"
    with PrivateRevision(repository, model, log=log, predictions=predictions) as revision:
        yield revision, round(time.perf_counter() - started, 3)


def ask_revision(
    revision: PrivateRevision,
    model: str,
    config: ModelConfig,
    asked: Iterable[tuple[str, NDArray[Any]]],
    *,
    in_flight: int = 0,
    recorded: bool = False,
    keeper: Keeper | None = None,
) -> list[Answer]:
    """The revision's answers to questions, asked so that its batches fill unless told otherwise.

    They are `recorded` in the revision's prediction log, where it has one, under their ids.
    """
    from infra.inference import score as score_through

    return score_through(
        revision.grpc_address,
        model,
        kind_of(config.kind).interface,
        asked,
        in_flight=in_flight or requests_in_flight(config.batching),
        timeout_s=SCORING_TIMEOUT_S,
        recorded=recorded,
        on_answer=keeper,
    )


def score_folder(
    work: Path, model: str, config: ModelConfig, dataset: Dataset, timed: int = 0
) -> dict[str, Any]:
    """Answers of the variant in `work/variant`, kept nowhere, with seconds to load and to score.

    `alone_ms` are milliseconds of the first `timed` questions, asked one at a time.
    """
    with private_revision(work, model, config) as (revision, load_s):
        announce(f"Scoring {len(dataset.utterances)} utterances")
        began = time.perf_counter()
        answers = ask_revision(revision, model, config, questions(dataset))
        score_s = time.perf_counter() - began
        first = itertools.islice(questions(dataset), timed)
        alone = ask_revision(revision, model, config, first, in_flight=1)
    if dataset.kind == "noisy-speech":
        pairs = zip(dataset.utterances, answers, strict=True)
        answers = [measured(dataset, utterance, answer) for utterance, answer in pairs]
    return {
        "answers": [dataclasses.asdict(answer) for answer in answers],
        "load_s": load_s,
        "score_s": round(score_s, 3),
        "alone_ms": [answer.latency_ms for answer in alone],
    }


def score_part(case: Case, absent: Sequence[Utterance], *, tell: bool = True) -> Scored:
    """Ask a private revision for the answers to `absent`; keep them, and what it records of them.

    Returns the answers that are not to be kept, because another run may find better ones. `tell`
    announces how far it is.
    """
    with case.platform.scratch("score") as work:
        case.platform.store.checkout(case.variant_digest, work / "variant")
        # Beside the answers at once, so that a killed gate loses no more of the one than the other.
        records = case.records / work.name
        with private_revision(work, case.model, case.config, records) as (revision, load_s):
            asked = questions(case.dataset, absent)
            began = time.perf_counter()
            with Keeper(case.store, Progress(len(absent)) if tell else None) as keeper:
                ask_revision(revision, case.model, case.config, asked, recorded=True, keeper=keeper)
            score_s = round(time.perf_counter() - began, 3)
            wait_for_records(records, len(absent))
    return Scored(tuple(keeper.passing), len(absent), load_s, score_s)


def _ask(case: Case, absent: Sequence[Utterance]) -> list[Scored]:
    """`score_part` of all that is absent, in as many parts as the workspace says."""
    section = case.platform.workspace.settings.evaluation
    if section.shards > 1:
        from pipelines.shards import score_shards

        return score_shards(case, absent, section)

    # No arguments: Prefect would walk through them.
    @task(name="score-variant", cache_policy=NO_CACHE)
    def score_variant() -> Scored:
        return score_part(case, absent)

    return [score_variant()]


def _measured(case: Case, answers: Sequence[Answer]) -> tuple[Answer, ...]:
    """The answers with what is measured of their sound, which is kept like the answers."""
    dataset = case.dataset
    if dataset.kind != "noisy-speech":
        return tuple(answers)
    identity = {**case.identity, "measures": _digest_of_measures()}
    store = AnswerStore.of(case.platform.workspace.state / ANSWERS, identity)
    known = store.read()
    with Keeper(store) as keeper:
        for utterance, answer in zip(dataset.utterances, answers, strict=True):
            if utterance.id not in known:
                known[utterance.id] = measured(dataset, utterance, answer)
                keeper(known[utterance.id], settled=not answer.failed)
    return tuple(known[utterance.id] for utterance in dataset.utterances)


def _digest_of_measures() -> str:
    """SHA-256 of what measures sound, its own code included: changed, it measures again."""
    from validation import cleaning

    folder = Path(cleaning.__file__).parent
    digest = hashlib.sha256(cleaning.measured_by().encode())
    for name in _MEASURING:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
