"""Makes a release's reference while it is gated: what live traffic will be compared with first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drift.gate_reference import reference_of
from pipelines.drift_reference import NAME
from pipelines.recording import recorded
from registry.files import write_atomic
from validation.scoring import Mismatch, score_answers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pipelines.scoring import Case
    from validation.answers import Answer


@dataclass(frozen=True, slots=True)
class KeptReference:
    """Files by name, and the digest under which the content store has them."""

    files: Mapping[str, bytes]
    digest: str


def keep_reference(case: Case, answers: Sequence[Answer]) -> KeptReference | None:
    """Make the reference of what was recorded while `case` was asked, and store it.

    `answers` are the gate's own, in the set's order. None when the programs recorded nothing.
    Raises EngineError when the disk refuses.
    """
    dataset, policy = case.dataset, case.config.gate
    made = reference_of(
        recorded(case.records, case.model),
        [one.id for one in dataset.utterances],
        [one.columns.get(policy.cluster, one.id) for one in dataset.utterances],
        dataset.sha256,
        _word_error_rates(case, answers),
    )
    if made is None:
        return None
    files = made.to_files()
    with case.platform.scratch("reference") as work:
        folder = work / NAME
        for name, content in files.items():
            write_atomic(folder / name, content)
        return KeptReference(files, case.platform.store.add(folder).digest)


def _word_error_rates(case: Case, answers: Sequence[Answer]) -> NDArray[np.float64] | None:
    """Of each utterance, NaN where it has none; None for what is not speech."""
    if case.dataset.kind != "speech":
        return None
    scores = score_answers(case.dataset, answers, case.config.gate.normaliser)
    if isinstance(scores, Mismatch):
        return None
    measure = scores.measures["wer"]
    rates: NDArray[np.float64] = measure.of(measure.statistics)
    return rates
