"""The characters of a transcript, in the layout of Wav2Vec2CTCTokenizer.

Ids are those of wav2vec2's published checkpoints: the padding token, which is CTC's blank, is 0,
and `|` stands between words.
"""

from __future__ import annotations

import string
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BLANK = "<pad>"
DELIMITER = "|"
TOKENS = (BLANK, "<s>", "</s>", "<unk>", DELIMITER, *string.ascii_lowercase)
IDS = {token: number for number, token in enumerate(TOKENS)}
"""Id of each token: what `vocab.json` holds."""


def spell(text: str) -> list[int]:
    """Ids of the characters of lower-case words, `|` between words."""
    return [IDS[character] for character in text.replace(" ", DELIMITER)]


def read(ids: Iterable[int]) -> str:
    """The text of the ids chosen frame by frame: repeats count once, blanks not at all."""
    spelt = "".join(TOKENS[one] for one, _ in groupby(ids) if one >= IDS[DELIMITER])
    return " ".join(spelt.replace(DELIMITER, " ").split())
