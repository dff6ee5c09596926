"""Word and character errors of transcripts against their references.

Counts are those of jiwer 4, to the last substitution: both read rapidfuzz's edit operations. NIST
sclite takes a substitution for 4 and the others for 3, so it may call one pair of substitutions a
deletion and an insertion; the sum of errors is its too, unless half of the words are wrong. What
an error is was decided before, by the normaliser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from validation.normalisers import normaliser_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

Tokens = Literal["words", "characters"]


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """The fewest edits that turn a reference of `reference_length` tokens into its hypothesis."""

    substitutions: int
    deletions: int
    insertions: int
    reference_length: int

    @property
    def errors(self) -> int:
        """Edits of all three kinds."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors a reference token, from 0, above 1 with many insertions.

        Raises ValueError when there is no reference token: such a rate does not exist.
        """
        if self.reference_length == 0:
            raise ValueError("an error rate needs at least one reference token")
        return self.errors / self.reference_length


def normalise(text: str, normaliser: str) -> str:
    """`text` as the normaliser sees it. Raises UserError as `normalisers.normaliser_of` does."""
    return normaliser_of(normaliser)(text)


def count_errors(reference: str, hypothesis: str, normaliser: str) -> ErrorCounts:
    """Word errors of a transcript as it came. Raises UserError for an unknown normaliser."""
    return count_words(normalise(reference, normaliser), normalise(hypothesis, normaliser))


def count_words(reference: str, hypothesis: str) -> ErrorCounts:
    """Word errors of `hypothesis`; both are normalised already."""
    return ErrorCounts(*_counter(str.split)(reference, hypothesis))


def count_characters(reference: str, hypothesis: str) -> ErrorCounts:
    """Character errors of `hypothesis`, spaces counted; both are normalised already."""
    return ErrorCounts(*_counter(str)(reference, hypothesis))


def count_all(
    references: Sequence[str], hypotheses: Sequence[str], tokens: Tokens
) -> NDArray[np.float64]:
    """Substitutions, deletions, insertions and reference tokens of each pair: [pairs, 4].

    The texts are normalised already. Raises ValueError when there are not as many of both.
    """
    count = _counter(str.split if tokens == "words" else str)
    pairs = zip(references, hypotheses, strict=True)
    return np.array([count(*pair) for pair in pairs], dtype=np.float64).reshape(-1, 4)


def total(counts: Iterable[ErrorCounts]) -> ErrorCounts:
    """The counts of a whole set: its rate is the corpus rate, not a mean of rates."""
    rows = tuple(counts)
    return ErrorCounts(
        sum(row.substitutions for row in rows),
        sum(row.deletions for row in rows),
        sum(row.insertions for row in rows),
        sum(row.reference_length for row in rows),
    )


def _counter(
    split: Callable[[str], Sequence[str]],
) -> Callable[[str, str], tuple[int, int, int, int]]:
    """Counts substitutions, deletions, insertions and reference tokens of a pair."""
    from rapidfuzz.distance import Levenshtein

    edits = Levenshtein.editops

    def count(reference: str, hypothesis: str) -> tuple[int, int, int, int]:
        said = split(reference)
        length = len(said)
        if reference == hypothesis:
            return 0, 0, 0, length
        heard = split(hypothesis)
        tags = [tag for tag, _, _ in edits(said, heard).as_list()]
        replaced, longer = tags.count("replace"), len(heard) - length
        deleted = (len(tags) - replaced - longer) // 2
        return replaced, deleted, deleted + longer, length

    return count
