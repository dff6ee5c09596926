"""Word and character errors of one transcript against its reference.

Counts are those of jiwer 4, to the last substitution: both read rapidfuzz's edit operations.
A normaliser is named in the policy and in the report, because it decides what an error is.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

# Folding and composing can undo each other for a few rare sequences; none seen needs a third pass.
_PASSES = 4
_APOSTROPHES = frozenset("'\u02bc\u2018\u2019\uff07")


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
    """`text` as the normaliser sees it, its words parted by single spaces.

    "none" folds white space only. "basic" also applies NFKC and case folding, drops
    apostrophes and invisible format characters, and makes every other punctuation mark or
    symbol a space. Raises KeyError for any other name.
    """
    return NORMALISERS[normaliser](text)


def count_errors(reference: str, hypothesis: str, normaliser: str) -> ErrorCounts:
    """Word errors of a transcript as it came. Raises KeyError for an unknown normaliser."""
    return count_words(normalise(reference, normaliser), normalise(hypothesis, normaliser))


def count_words(reference: str, hypothesis: str) -> ErrorCounts:
    """Word errors of `hypothesis`; both are normalised already."""
    return _count(reference.split(), hypothesis.split())


def count_characters(reference: str, hypothesis: str) -> ErrorCounts:
    """Character errors of `hypothesis`, spaces counted; both are normalised already."""
    return _count(reference, hypothesis)


def total(counts: Iterable[ErrorCounts]) -> ErrorCounts:
    """The counts of a whole set: its rate is the corpus rate, not a mean of rates."""
    rows = tuple(counts)
    return ErrorCounts(
        sum(row.substitutions for row in rows),
        sum(row.deletions for row in rows),
        sum(row.insertions for row in rows),
        sum(row.reference_length for row in rows),
    )


def _count(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCounts:
    if reference == hypothesis:
        return ErrorCounts(0, 0, 0, len(reference))
    from rapidfuzz.distance import Levenshtein

    tags = [tag for tag, _, _ in Levenshtein.editops(reference, hypothesis).as_list()]
    return ErrorCounts(
        tags.count("replace"), tags.count("delete"), tags.count("insert"), len(reference)
    )


def _fold_spaces(text: str) -> str:
    return " ".join(text.split())


def _basic(text: str) -> str:
    for _ in range(_PASSES):
        folded = unicodedata.normalize("NFKC", text).casefold()
        folded = unicodedata.normalize("NFKC", folded)
        folded = _fold_spaces(unicodedata.normalize("NFKC", folded.translate(_PLAIN)))
        if folded == text:
            break
        text = folded
    return text


def _plain(character: str) -> str:
    """The character, a space in place of a punctuation mark or symbol, or nothing."""
    if character.isalnum():
        return character
    if character in _APOSTROPHES:
        return ""
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    return " " if category[0] in "PS" else character


class _PlainCharacters(dict[int, str]):
    """`_plain` as a table for `str.translate`, filled with the characters that were met."""

    def __missing__(self, code: int) -> str:
        self[code] = plain = _plain(chr(code))
        return plain


_PLAIN = _PlainCharacters()

NORMALISERS: Mapping[str, Callable[[str], str]] = {"none": _fold_spaces, "basic": _basic}
"""Normalisers by the name that a policy gives."""
