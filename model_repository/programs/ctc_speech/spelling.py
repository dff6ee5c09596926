"""Token ids to text: characters by the vocabulary, or pieces by the checkpoint's tokenizer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Spelling = Callable[[Sequence[tuple[int, ...]]], list[str]]
    """Token ids of several answers to their texts, without outer spaces."""

_TOKENIZER = "tokenizer.json"


def load_spelling(folder: Path) -> Spelling:
    """How the variant in `folder` writes."""
    return (Pieces if (folder / _TOKENIZER).exists() else Characters)(folder)


class Characters:
    """`characters.json`: a text for each id, and a delimiter between words."""

    def __init__(self, folder: Path) -> None:
        values = json.loads((folder / "characters.json").read_bytes())
        delimiter = values["delimiter"]
        self._texts = [" " if text == delimiter else text for text in values["tokens"]]
        self._lower_case = values["lower_case"]

    def __call__(self, sequences: Sequence[tuple[int, ...]]) -> list[str]:
        """The text of each sequence, one space between words."""
        texts = ["".join(self._texts[token] for token in tokens) for tokens in sequences]
        if self._lower_case:
            texts = [text.lower() for text in texts]
        return [" ".join(text.split()) for text in texts]


class Pieces:
    """`tokenizer.json` of Hugging Face's tokenizers."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))

    def __call__(self, sequences: Sequence[tuple[int, ...]]) -> list[str]:
        """The text of each sequence, without special tokens."""
        ids = [list(tokens) for tokens in sequences]
        decoded = self._tokenizer.decode_batch(ids, skip_special_tokens=True)
        return [text.strip() for text in decoded]
