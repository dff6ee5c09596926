"""Text to token ids and back, by the tokenizer files of the checkpoint itself."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ..common.unknown import unknown_token

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path


class Vocabulary(ABC):
    """The tokenizer of a variant. May be used from several threads."""

    unknown: int | None
    """The id of what the vocabulary does not know; None when it knows everything."""

    @abstractmethod
    def encode(self, prompt: str) -> list[int]:
        """The model's input for a prompt: ids of its tokens, with prefix and suffix."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """The text of an answer's tokens, outer spaces and all.

        Bytes that are not yet a whole character are U+FFFD at the end.
        """


def load_vocabulary(folder: Path) -> Vocabulary:
    """The vocabulary of the variant in `folder`."""
    values = json.loads((folder / "generation.json").read_bytes())
    special = frozenset(values["special"])
    prefix, suffix = values["source_prefix"], values["source_suffix"]
    if values["tokenizer"] == "tokenizers":
        return TokenizersVocabulary(
            folder, special, add_special_tokens=values["add_special_tokens"]
        )
    if values["tokenizer"] == "sentencepiece-pair":
        return PairVocabulary(folder, special, prefix, suffix)
    return SentencePieceVocabulary(folder, special, prefix, suffix)


class TokenizersVocabulary(Vocabulary):
    """`tokenizer.json`, as Hugging Face's tokenizers write it."""

    def __init__(self, folder: Path, special: Collection[int], *, add_special_tokens: bool) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.unknown = unknown_token(self._tokenizer, folder / "tokenizer.json")
        self._special, self._adds = special, add_special_tokens

    def encode(self, prompt: str) -> list[int]:
        """See Vocabulary."""
        return list(self._tokenizer.encode(prompt, add_special_tokens=self._adds).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """See Vocabulary."""
        said = [token for token in tokens if token not in self._special]
        return str(self._tokenizer.decode(said, skip_special_tokens=True))


class SentencePieceVocabulary(Vocabulary):
    """`spiece.model`, whose piece numbers are the ids, as T5 has it."""

    def __init__(
        self, folder: Path, special: Collection[int], prefix: Sequence[int], suffix: Sequence[int]
    ) -> None:
        from sentencepiece import SentencePieceProcessor

        self._pieces = SentencePieceProcessor(model_file=str(folder / "spiece.model"))
        self._special, self._prefix, self._suffix = special, list(prefix), list(suffix)
        self.unknown = self._pieces.unk_id()

    def encode(self, prompt: str) -> list[int]:
        """See Vocabulary."""
        return self._prefix + list(self._pieces.encode(prompt, out_type=int)) + self._suffix

    def decode(self, tokens: Sequence[int]) -> str:
        """See Vocabulary."""
        known = range(self._pieces.get_piece_size())
        said = [token for token in tokens if token in known and token not in self._special]
        return str(self._pieces.decode(said))


class PairVocabulary(Vocabulary):
    """`source.spm` and `target.spm`, with one table of ids for both, as Marian has it."""

    def __init__(
        self, folder: Path, special: Collection[int], prefix: Sequence[int], suffix: Sequence[int]
    ) -> None:
        from sentencepiece import SentencePieceProcessor

        self._source, self._target = (
            SentencePieceProcessor(model_file=str(folder / f"{side}.spm"))
            for side in ("source", "target")
        )
        self._ids: dict[str, int] = json.loads((folder / "vocab.json").read_bytes())
        self._pieces = {token: piece for piece, token in self._ids.items() if token not in special}
        self.unknown = self._unknown = self._ids["<unk>"]
        self._prefix, self._suffix = list(prefix), list(suffix)

    def encode(self, prompt: str) -> list[int]:
        """See Vocabulary."""
        pieces = self._source.encode(prompt, out_type=str)
        ids = [self._ids.get(piece, self._unknown) for piece in pieces]
        return self._prefix + ids + self._suffix

    def decode(self, tokens: Sequence[int]) -> str:
        """See Vocabulary."""
        pieces = [self._pieces[token] for token in tokens if token in self._pieces]
        return str(self._target.decode(pieces))
