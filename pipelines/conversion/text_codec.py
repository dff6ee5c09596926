"""Texts to ids and back, by `generation.json` and the tokenizer's files alone.

It does what the serving program does, so that parity is measured on the ids that will be served.
Runs in the converter's environment.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pipelines.conversion.text_source import QUESTION, TOKENIZER
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipelines.conversion.text_generation import Rules

    Encode = Callable[[str], list[int]]


def encoder_of(folder: Path, rules: Rules) -> Encode:
    """A function from a question to the ids that the model is given."""
    encode = _ENCODERS[rules.tokenizer](folder, rules)

    def encoded(question: str) -> list[int]:
        ids = encode(rules.prompt_template.replace(QUESTION, question))
        return [*rules.source_prefix, *ids, *rules.source_suffix]

    return encoded


def special_tokens(source: Path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Ids and words of the control tokens in a folder's `tokenizer.json`."""
    added = json.loads((source / TOKENIZER).read_bytes()).get("added_tokens") or []
    control = [token for token in added if token.get("special")]
    ids = tuple(sorted(int(token["id"]) for token in control))
    return ids, tuple(sorted(str(token["content"]) for token in control))


def check_encoding(
    questions: Sequence[str], encode: Encode, expected: Sequence[Sequence[int]], source: Path
) -> None:
    """Refuse a checkpoint whose files, read plainly, give other ids than Transformers does."""
    for question, ids in zip(questions, expected, strict=True):
        if encode(question) != list(ids):
            raise UserError(
                f"its tokenizer makes other tokens of {question!r} than Transformers does",
                where=str(source),
                remedy="save the tokenizer again with Transformers 4.57",
            )


def _sentencepiece_pair(folder: Path, _: Rules) -> Encode:
    import sentencepiece

    vocabulary = json.loads((folder / "vocab.json").read_bytes())
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
    unknown = vocabulary["<unk>"]
    return lambda text: [
        vocabulary.get(piece, unknown) for piece in processor.encode(text, out_type=str)
    ]


def _sentencepiece(folder: Path, _: Rules) -> Encode:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    return lambda text: list(processor.encode(text, out_type=int))


def _tokenizers(folder: Path, rules: Rules) -> Encode:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    added = rules.add_special_tokens
    return lambda text: list(tokenizer.encode(text, add_special_tokens=added).ids)


_ENCODERS = {
    "sentencepiece-pair": _sentencepiece_pair,
    "sentencepiece": _sentencepiece,
    "tokenizers": _tokenizers,
}
