"""The sentences that lips can part: the GRID grammar with 18 of its 25 letters.

Letters that look the same are left out but for one of them: p (as b), t (as d), n (as l), and k,
q, x and z, which part from a, u, s and d by what the tongue does behind the teeth. The other words
of the grammar are all kept. There are 4 x 4 x 4 x 18 x 10 x 4 = 46,080 sentences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from speech.grammar import ADVERBS, COLOURS, COMMANDS, DIGITS, PREPOSITIONS

if TYPE_CHECKING:
    import numpy as np

LETTERS = tuple("abcdefghijlmorsuvy")
SLOTS = (COMMANDS, COLOURS, PREPOSITIONS, LETTERS, DIGITS, ADVERBS)
"""The word lists in the order in which a sentence uses them."""


def draw_sentence(random: np.random.Generator, taken: set[str]) -> str:
    """A sentence of six lower-case words that is not in `taken`, which then holds it."""
    while True:
        words = (slot[int(random.integers(len(slot)))] for slot in SLOTS)
        text = " ".join(words)
        if text not in taken:
            taken.add(text)
            return text
