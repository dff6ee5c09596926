"""The GRID corpus grammar: six words, each from its own list.

Source: Cooke, Barker, Cunningham, Shao, "An audio-visual corpus for speech perception
and automatic speech recognition", JASA 120(5), 2006. There are 4 x 4 x 4 x 25 x 10 x 4 =
64,000 sentences. This module never touches audio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

COMMANDS = ("bin", "lay", "place", "set")
COLOURS = ("blue", "green", "red", "white")
PREPOSITIONS = ("at", "by", "in", "with")
LETTERS = tuple("abcdefghijklmnopqrstuvxyz")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ADVERBS = ("again", "now", "please", "soon")

SLOTS = (COMMANDS, COLOURS, PREPOSITIONS, LETTERS, DIGITS, ADVERBS)
"""The word lists in the order in which a sentence uses them."""

WORDS = tuple(sorted({word for slot in SLOTS for word in slot}))
"""Every word of the grammar once, sorted: what a transcript may contain."""


def sentence(random: np.random.Generator) -> str:
    """Draw a sentence of six lower-case words, each slot uniformly."""
    return " ".join(slot[int(random.integers(len(slot)))] for slot in SLOTS)


def spoken(text: str) -> str:
    """Return `text` as espeak-ng must be given it to say the letter "a" by its name.

    Without the phoneme mark-up "a" is read as the article.
    """
    return " ".join("[[eI]]" if word == "a" else word for word in text.split())
