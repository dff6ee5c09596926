"""The token that a tokenizer writes for what its vocabulary does not know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def unknown_token(tokenizer: Any, path: Path) -> int | None:
    """Its id in a tokenizer of Hugging Face's that was read from `path`; None when it has none."""
    word = getattr(tokenizer.model, "unk_token", None)
    if word is not None:
        found: int | None = tokenizer.token_to_id(word)
        return found
    # A unigram model does not tell, but its file does.
    number: int | None = json.loads(path.read_bytes())["model"].get("unk_id")
    return number


def unknown_rate(tokens: Sequence[int], unknown: int | None) -> float | None:
    """The share of the tokens that are `unknown`, 0 to 1; None without tokens or without such."""
    return tokens.count(unknown) / len(tokens) if tokens and unknown is not None else None
