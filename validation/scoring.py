"""Answers joined with references: one row of counts for each utterance, in the set's order.

An answer that the engine refused counts as an empty transcript, so every word of it is deleted:
a model cannot look better by failing on what is hard.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from validation.words import count_characters, count_words, normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from validation.answers import Answer
    from validation.dataset import Utterance

_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Scores:
    """Counts of one system over a set; every array is [utterances].

    Integers are int64. `empty` is true where words were expected and none came.
    """

    references: tuple[str, ...]
    hypotheses: tuple[str, ...]
    """Both as the normaliser sees them."""
    substitutions: NDArray[np.int64]
    deletions: NDArray[np.int64]
    insertions: NDArray[np.int64]
    words: NDArray[np.int64]
    character_errors: NDArray[np.int64]
    characters: NDArray[np.int64]
    empty: NDArray[np.bool_]
    failed: NDArray[np.bool_]

    @property
    def word_errors(self) -> NDArray[np.int64]:
        """Word errors of all three kinds, int64 [utterances]."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Answers and utterances do not meet one to one; `reason` names the first that do not."""

    reason: str


def score_answers(
    utterances: Sequence[Utterance], answers: Sequence[Answer], normaliser: str
) -> Scores | Mismatch:
    """Count errors of `answers`, which may come in any order but one for each utterance."""
    by_id = {answer.id: answer for answer in answers}
    ids = [utterance.id for utterance in utterances]
    if reason := _mismatch(ids, [answer.id for answer in answers]):
        return Mismatch(reason)
    ordered = [by_id[name] for name in ids]
    references = tuple(normalise(utterance.text, normaliser) for utterance in utterances)
    hypotheses = tuple(
        "" if answer.failed else normalise(answer.text, normaliser) for answer in ordered
    )
    pairs = list(zip(references, hypotheses, strict=True))
    words = [count_words(*pair) for pair in pairs]
    characters = [count_characters(*pair) for pair in pairs]
    return Scores(
        references,
        hypotheses,
        _column([count.substitutions for count in words]),
        _column([count.deletions for count in words]),
        _column([count.insertions for count in words]),
        _column([count.reference_length for count in words]),
        _column([count.errors for count in characters]),
        _column([count.reference_length for count in characters]),
        np.array([bool(reference) and not hypothesis for reference, hypothesis in pairs]),
        np.array([answer.failed for answer in ordered]),
    )


def _column(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _mismatch(expected: list[str], given: list[str]) -> str:
    findings = {
        "without an answer": sorted(set(expected) - set(given)),
        "answered but not in the set": sorted(set(given) - set(expected)),
        "answered more than once": sorted(
            name for name, times in Counter(given).items() if times > 1
        ),
    }
    return "; ".join(
        f"{len(names)} {finding}: {', '.join(names[:_NAMES_SHOWN])}"
        for finding, names in findings.items()
        if names
    )
