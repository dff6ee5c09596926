"""What the inspectors of models that write text share: weights, vocabularies, prompts.

Standard library only; nothing is run. It knows no architecture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.conversion.hugging_face import WEIGHTS, read_header, read_object
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Tensors = Mapping[str, Mapping[str, Any]]

PROMPT = "prompt.json"
TOKENIZER = "tokenizer.json"
INDEX = "model.safetensors.index.json"
QUESTION = "{text}"
"""Where the question goes in a prompt's template."""
BESIDE = (
    "generation_config.json",
    "LICENSE",
    "LICENSE.txt",
    PROMPT,
    "README.md",
    "special_tokens_map.json",
    "tokenizer_config.json",
)
"""Files that any model that writes text may have."""

_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_VARINT_BYTES = 10  # of protobuf, at most


@dataclass(frozen=True)
class Prompt:
    """What a question is wrapped in, and what ends an answer beside the model's own end token."""

    template: str = QUESTION
    stop: tuple[str, ...] = ()
    max_new_tokens: int | None = None


def prompt_of(folder: Path) -> Prompt | None:
    """What `prompt.json` says, or None when there is none.

    Raises UserError unless its template holds "{text}" exactly once, `stop` is a list of texts
    that are not empty, and `max_new_tokens`, if there, is a positive integer.
    """
    path = folder / PROMPT
    if not path.is_file():
        return None
    values = read_object(path)
    template, stop = values.get("template"), values.get("stop", [])
    longest = values.get("max_new_tokens")
    if not isinstance(template, str) or template.count(QUESTION) != 1:
        raise UserError(
            f"its template is {template!r}, which does not hold {QUESTION} once",
            where=str(path),
            remedy='write one such as {"template": "translate: {text}\\n", "stop": []}',
        )
    if not isinstance(stop, list) or not all(isinstance(one, str) and one for one in stop):
        raise UserError(f"stop is {stop!r}", where=str(path), remedy="write a list of texts")
    if longest is not None and (not isinstance(longest, int) or longest < 1):
        raise UserError(
            f"max_new_tokens is {longest!r}", where=str(path), remedy="write a positive integer"
        )
    if unknown := sorted(values.keys() - {"template", "stop", "max_new_tokens"}):
        raise UserError(
            f"has a key {unknown[0]!r}",
            where=str(path),
            remedy="there are template, stop and max_new_tokens",
        )
    return Prompt(template, tuple(stop), longest)


def weight_files(folder: Path) -> tuple[str, ...]:
    """Names of the folder's weights: `model.safetensors`, or its parts and their index."""
    if not folder.is_dir() or not (folder / INDEX).is_file():
        return (WEIGHTS,)
    return (INDEX, *sorted(path.name for path in folder.iterdir() if _SHARD.fullmatch(path.name)))


def read_weights(folder: Path) -> dict[str, dict[str, Any]]:
    """Every tensor of the folder's safetensors files by name, once each file is whole.

    Raises UserError when one is damaged, or when the index names a part that does not hold what
    it says.
    """
    names = weight_files(folder)
    if names == (WEIGHTS,):
        return read_header(folder / WEIGHTS)
    parts = {name: read_header(folder / name) for name in names[1:]}
    placed = read_object(folder / INDEX).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise UserError("has no weight_map", where=str(folder / INDEX), remedy="copy it again")
    for tensor, part in placed.items():
        if tensor not in parts.get(part, {}):
            raise UserError(
                f"says that tensor {tensor!r} is in {part}, which is not so",
                where=str(folder / INDEX),
                remedy="copy the checkpoint again, every part of it",
            )
    return {name: tensor for part in parts.values() for name, tensor in part.items()}


def pieces_in(path: Path) -> int:
    """How many pieces a SentencePiece model holds.

    Format: a protobuf whose field 1, once a piece, is of bytes (sentencepiece_model.proto).
    Raises UserError when the file is cut short or something else.
    """
    content, position, pieces = path.read_bytes(), 0, 0
    while position < len(content):
        tag, position = _varint(path, content, position)
        length, position = _varint(path, content, position)
        position += length
        if tag & 7 != 2 or position > len(content):  # Only fields of bytes stand at the top.
            raise _not_sentencepiece(path)
        pieces += tag >> 3 == 1
    if not pieces:
        raise _not_sentencepiece(path)
    return pieces


def tokenizer_size(path: Path) -> int:
    """One more than the highest id in a `tokenizer.json`; raises UserError when it has none."""
    values = read_object(path)
    model = values.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    added = values.get("added_tokens") or []
    try:
        if isinstance(vocabulary, dict):
            own = max((int(number) for number in vocabulary.values()), default=-1)
        else:
            own = len(vocabulary or []) - 1
        size = max([own, *(int(token["id"]) for token in added)]) + 1
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            "its vocabulary is not that of a tokenizer", where=str(path), remedy="copy it again"
        ) from error
    if own < 0:
        raise UserError("holds no vocabulary", where=str(path), remedy="copy the file again")
    return size


def check_vocabulary(path: Path, tokens: int, embedded: int) -> None:
    """Refuse a vocabulary of `tokens` that the model has not `embedded` all of."""
    if tokens > embedded:
        raise UserError(
            f"has {tokens} tokens, the model's vocab_size is {embedded}",
            where=str(path),
            remedy="keep the tokenizer and the weights of one checkpoint together",
        )


def check_model(
    path: Path, config: Mapping[str, Any], known: Mapping[str, str], what: str, remedy: str
) -> str:
    """The configuration's `model_type`, when it is a `known` one with its one architecture.

    Raises UserError that says it is not a `what`.
    """
    model_type, architectures = config.get("model_type"), config.get("architectures")
    for name, architecture in known.items():
        if model_type == name and architectures == [architecture]:
            return name
    raise UserError(
        f"is not a {what}: model_type {model_type!r}, architectures {architectures!r}",
        where=str(path),
        remedy=remedy,
    )


def _varint(path: Path, content: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(_VARINT_BYTES):
        if position + shift >= len(content):
            break
        byte = content[position + shift]
        value |= (byte & 127) << (7 * shift)
        if byte < 128:
            return value, position + shift + 1
    raise _not_sentencepiece(path)


def _not_sentencepiece(path: Path) -> UserError:
    return UserError(
        "is not a SentencePiece model, or is cut short", where=str(path), remedy="copy it again"
    )
