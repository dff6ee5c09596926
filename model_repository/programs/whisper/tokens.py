"""Token ids to text, by the checkpoint's own `tokenizer.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_WORD_STARTS = "Ġ▁ "  # a space before a word, as byte-level and metaspace tokenizers write it


class Vocabulary:
    """The tokenizer of a variant."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._keys: dict[int, str] = {}

    def texts(self, sequences: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sequence, without special tokens and outer spaces."""
        ids = [list(tokens) for tokens in sequences]
        decoded = self._tokenizer.decode_batch(ids, skip_special_tokens=True)
        return [text.strip() for text in decoded]

    def keys(self, tokens: Sequence[int]) -> list[str]:
        """What makes tokens of two chunks the same: their letters, whatever their case.

        A word at the start of a chunk may have another token than the same word within one.
        """
        return [self._key(token) for token in tokens]

    def _key(self, token: int) -> str:
        if token not in self._keys:
            written = self._tokenizer.id_to_token(token) or f"<{token}>"
            self._keys[token] = written.lstrip(_WORD_STARTS).casefold() or written
        return self._keys[token]
