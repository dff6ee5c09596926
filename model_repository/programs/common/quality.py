"""Signals of a text answer that need no reference: how much it repeats itself, how long it is.

Used for the answer's outputs and the prediction log. Pure but for the key of `text_hash`.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from .fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_PERIOD = 8
_MIN_REPEATS = 3
_MIN_REPEATED = 6


def compression_ratio(text: str) -> float:
    """UTF-8 bytes of `text` over their size under zlib; 0 for no text.

    Above about 2.4 a long transcript repeats itself (Radford et al. 2022, section 4.5).
    """
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def is_looping(tokens: Sequence[int]) -> bool:
    """Whether the tokens end in a phrase of up to 8 said three times or more, six tokens in all."""
    for period in range(1, min(_MAX_PERIOD, len(tokens) // _MIN_REPEATS) + 1):
        repeats = max(_MIN_REPEATS, -(-_MIN_REPEATED // period))
        tail = tokens[-repeats * period :]
        if len(tail) == repeats * period and tail[period:] == tail[:-period]:
            return True
    return False


def describe_text(
    text: str,
    tokens: Sequence[int],
    average_log_probability: float,
    *,
    entropy: float | None = None,
    fallback: bool | None = None,
) -> dict[str, Any]:
    """The prediction log's fields of a text answer of these tokens.

    `entropy` and `fallback` as the log has them; None where the program does not know.
    """
    return {
        "length_chars": len(text),
        "token_count": len(tokens),
        "compression_ratio": compression_ratio(text),
        "average_log_probability": average_log_probability,
        "empty": not text,
        "looping": is_looping(tokens),
        "entropy": entropy,
        "fallback": fallback,
        "text_hash": fingerprint(text),
    }
