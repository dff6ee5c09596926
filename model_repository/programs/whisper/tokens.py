"""Token ids to text, by the checkpoint's own `tokenizer.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Vocabulary:
    """The tokenizer of a variant."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def texts(self, sequences: Sequence[tuple[int, ...]]) -> list[str]:
        """The text of each sequence, without special tokens and outer spaces."""
        ids = [list(tokens) for tokens in sequences]
        decoded = self._tokenizer.decode_batch(ids, skip_special_tokens=True)
        return [text.strip() for text in decoded]
