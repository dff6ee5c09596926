"""A reference and an answer, word under word, so that a reader sees what went wrong and where.

The edits are those that were counted: `words` reads the same operations. It judges nothing.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

Edit = Literal["same", "substituted", "deleted", "inserted"]

# Scripts that write no spaces between words: their characters are aligned instead.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


@dataclass(frozen=True, slots=True)
class Pair:
    """One place of an alignment: a word of each text, empty where one has none."""

    edit: Edit
    reference: str
    answer: str


def align(reference: str, answer: str) -> tuple[Pair, ...]:
    """Words of both texts in order, with the fewest edits that turn the first into the second.

    Texts are parted at white space. Where most letters are of a script that writes no spaces,
    characters are aligned.
    """
    from rapidfuzz.distance import Levenshtein

    theirs, ours = tokens(reference), tokens(answer)
    if by_characters(reference + answer):
        theirs, ours = list(reference.replace(" ", "")), list(answer.replace(" ", ""))
    pairs: list[Pair] = []
    for code in Levenshtein.opcodes(theirs, ours):
        before = theirs[code.src_start : code.src_end]
        after = ours[code.dest_start : code.dest_end]
        match code.tag:
            case "equal":
                pairs += [Pair("same", word, word) for word in before]
            case "replace":
                pairs += [
                    Pair("substituted", old, new) for old, new in zip(before, after, strict=True)
                ]
            case "delete":
                pairs += [Pair("deleted", word, "") for word in before]
            case _:
                pairs += [Pair("inserted", "", word) for word in after]
    return tuple(pairs)


def tokens(text: str) -> list[str]:
    """Words as `words` counts them."""
    return text.split()


def by_characters(text: str) -> bool:
    """Whether most letters are of scripts that write no spaces between words."""
    letters = [character for character in text if character.isalpha()]
    unspaced = sum(unicodedata.name(letter, "").startswith(_UNSPACED) for letter in letters)
    return 2 * unspaced > len(letters)
