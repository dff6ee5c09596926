"""The vocabulary of a CTC model: `vocab.json` of single characters, or a `tokenizer.json`.

`vocab.json` is that of Wav2Vec2CTCTokenizer: token to id, words apart by a delimiter. A
`tokenizer.json` (byte-pair pieces, as PhoWhisper-CTC has) goes first where both are there, since
such a `vocab.json` spells bytes and not text. Standard library only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.conversion.hugging_face import CONFIG, read_object
from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

TOKENIZER = "tokenizer.json"
VOCABULARY = "vocab.json"
_ADDED = "added_tokens.json"
_TOKENIZER_CONFIG = "tokenizer_config.json"
_UNSPOKEN = ("<pad>", "<s>", "</s>", "<unk>", "[PAD]", "[UNK]")
_ROLES = ("pad", "bos", "eos", "unk")


def check_vocabulary(folder: Path, size: int) -> None:
    """Refuse a folder whose vocabulary is missing or not that of a last layer of `size` tokens.

    Raises UserError that names the file.
    """
    if (folder / TOKENIZER).is_file():
        _check_pieces(folder / TOKENIZER, size)
    elif (folder / VOCABULARY).is_file():
        characters(folder, size)
    else:
        raise UserError(
            f"its vocabulary is missing: neither {VOCABULARY} nor {TOKENIZER} is there",
            where=str(folder),
            remedy="save the tokenizer that the model was trained with",
        )


def characters(folder: Path, size: int) -> dict[str, Any]:
    """What a server needs to write text, of a folder with `vocab.json` for `size` tokens.

    `tokens` by id, "" for those that are never written; `delimiter` between words; `lower_case`.
    Raises UserError when an id has no token, two, or is outside the last layer.
    """
    path = folder / VOCABULARY
    ids = read_object(path)
    # Transformers adds <s> and </s> behind the last layer's ids, where no frame can choose them.
    added = read_object(folder / _ADDED) if (folder / _ADDED).is_file() else {}
    ids |= {token: number for token, number in added.items() if _is_below(number, size)}
    tokens = _by_id(path, ids, size)
    settings = _settings(folder)
    unspoken = {*_UNSPOKEN, *(_text(settings.get(f"{role}_token")) for role in _ROLES)}
    return {
        "tokens": ["" if token in unspoken else token for token in tokens],
        "delimiter": _text(settings.get("word_delimiter_token")) or "|",
        "lower_case": settings.get("do_lower_case") is True,
    }


def _by_id(path: Path, ids: dict[str, Any], size: int) -> list[str]:
    tokens: dict[int, str] = {}
    for token, number in ids.items():
        if not isinstance(number, int) or isinstance(number, bool):
            raise UserError(
                f"the id of {token!r} is {number!r}, not an integer",
                where=str(path),
                remedy="save the tokenizer of one language, without nested vocabularies",
            )
        if not 0 <= number < size or number in tokens:
            raise UserError(
                f"the id {number} of {token!r} "
                + (
                    f"is that of {tokens[number]!r} too"
                    if number in tokens
                    else f"is outside the last layer's {size} tokens"
                ),
                where=str(path),
                remedy=f"keep the vocabulary and the {CONFIG} of one checkpoint together",
            )
        tokens[number] = token
    if len(tokens) != size:
        missing = next(number for number in range(size) if number not in tokens)
        raise UserError(
            f"has {len(tokens)} tokens, the last layer has {size}; the id {missing} has none",
            where=str(path),
            remedy=f"keep the vocabulary and the {CONFIG} of one checkpoint together",
        )
    return [tokens[number] for number in range(size)]


def _is_below(number: Any, size: int) -> bool:
    return isinstance(number, int) and number < size


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / _TOKENIZER_CONFIG
    return read_object(path) if path.is_file() else {}


def _text(token: Any) -> str:
    """A token as settings write it: the text, or an object around it."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else ""


def _check_pieces(path: Path, size: int) -> None:
    """A tokenizer's highest piece must be one that the last layer can choose."""
    tokenizer = read_object(path)
    model = tokenizer.get("model")
    pieces = model.get("vocab") if isinstance(model, dict) else None
    ids = list(pieces.values()) if isinstance(pieces, dict) else []
    if not ids or not all(isinstance(number, int) for number in ids):
        raise UserError(
            "holds no vocabulary of pieces by id",
            where=str(path),
            remedy="save the fast tokenizer that the model was trained with",
        )
    if max(ids) >= size:
        raise UserError(
            f"its pieces go up to the id {max(ids)}, the last layer has {size} tokens",
            where=str(path),
            remedy=f"keep the tokenizer and the {CONFIG} of one checkpoint together",
        )
