"""Counting word errors, without the libraries that the converter's environment lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def word_errors(reference: str, hypothesis: str) -> int:
    """Return the least substitutions, deletions and insertions of words (Levenshtein 1966)."""
    words = hypothesis.split()
    row = list(range(len(words) + 1))
    for position, expected in enumerate(reference.split(), start=1):
        row = list(_next_row(row, position, expected, words))
    return row[-1]


def _next_row(
    above: Sequence[int], position: int, expected: str, words: Sequence[str]
) -> Iterator[int]:
    left = position
    yield left
    for index, word in enumerate(words):
        left = min(left + 1, above[index + 1] + 1, above[index] + (word != expected))
        yield left
