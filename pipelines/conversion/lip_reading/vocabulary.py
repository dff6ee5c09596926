"""The vocabulary of a lip-reader: `vocabulary.json`, a text for each of the network's outputs.

`tokens` by id, letters or words, the blank among them; `blank` is CTC's id; `word_delimiter` is
what stands for a space wherever it is in a token ("" when tokens hold their own spaces). Standard
library only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipelines.conversion.hugging_face import read_object
from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

VOCABULARY = "vocabulary.json"
_KEYS = ("tokens", "blank", "word_delimiter")


@dataclass(frozen=True)
class Vocabulary:
    """What each output of the network means."""

    tokens: tuple[str, ...]
    blank: int
    word_delimiter: str

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        return asdict(self)


def read_vocabulary(folder: Path) -> Vocabulary:
    """The vocabulary in `folder`. Raises UserError that names what is wrong with the file."""
    path = folder / VOCABULARY
    values = read_object(path)
    if unknown := sorted(set(values) - set(_KEYS)):
        raise _bad(path, f"has a key {unknown[0]!r} that nothing reads", "remove it")
    tokens = values.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise _bad(path, "has no list of texts under tokens", "list a text for each output")
    if repeated := next((token for token in tokens if tokens.count(token) > 1), None):
        raise _bad(path, f"has the token {repeated!r} twice", "give each output a text of its own")
    blank = values.get("blank")
    if not isinstance(blank, int) or isinstance(blank, bool) or not 0 <= blank < len(tokens):
        raise _bad(
            path,
            f"blank is {blank!r}, not the id of one of its {len(tokens)} tokens",
            "give the id of CTC's blank, counted from 0",
        )
    delimiter = values.get("word_delimiter", "")
    if not isinstance(delimiter, str):
        raise _bad(path, f"word_delimiter is {delimiter!r}, not a text", 'use "" for none')
    return Vocabulary(tuple(tokens), blank, delimiter)


def check_width(folder: Path, vocabulary: Vocabulary, width: int) -> None:
    """Refuse a vocabulary that is not the one of a last layer of `width` outputs."""
    if len(vocabulary.tokens) != width:
        raise _bad(
            folder / VOCABULARY,
            f"has {len(vocabulary.tokens)} tokens, the last layer has {width} outputs",
            "list a text for each output, the blank among them",
        )


def _bad(path: Path, what: str, remedy: str) -> UserError:
    return UserError(what, where=str(path), remedy=remedy)
