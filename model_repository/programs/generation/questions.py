"""What a request asks for, or why it must be refused. Knows no server and no engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .rules import Rules

MAX_TOKENS = "max_tokens"
"""Request parameter: most tokens of the answer, its end included."""
_LONGEST_TOKEN = 64  # UTF-8 bytes; what is longer than all positions of them need not be tokenized


@dataclass(frozen=True)
class Question:
    """A sound request: the model's input, and the most tokens of its answer, end included.

    `is_limited`: the caller asked for no more tokens than these.
    """

    prompt: tuple[int, ...]
    limit: int
    is_limited: bool = False


@dataclass(frozen=True)
class Refused:
    """Why a request is not answered, and what to do."""

    reason: str


def read_text(data: bytes) -> str | Refused:
    """The text that a request's bytes are."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        return Refused(f"text is not UTF-8 at byte {error.start}; encode it as UTF-8")


def ask(
    text: str,
    parameters: Mapping[str, Any],
    rules: Rules,
    encode: Callable[[str], Sequence[int]],
) -> Question | Refused:
    """The question that a text and a request's parameters make under a model's rules."""
    if reason := _unsound(text, rules):
        return Refused(reason)
    prompt = tuple(encode(rules.prompt(text)))
    room = rules.room(len(prompt))
    if room < 1:
        most = rules.max_positions - (1 if rules.causal else 0)
        return Refused(f"text is {len(prompt)} tokens, this model takes at most {most}; shorten it")
    limit = _limit(parameters, rules.max_new_tokens)
    if isinstance(limit, Refused):
        return limit
    if limit is None:
        return Question(prompt, room)
    if limit > room:
        return Refused(
            f"{MAX_TOKENS} is {limit}, after a text of {len(prompt)} tokens this model has room "
            f"for {room}; lower it, or shorten the text"
        )
    return Question(prompt, limit, is_limited=True)


def _unsound(text: str, rules: Rules) -> str:
    if not text.strip():
        return "text is empty; send at least one character that is not a space"
    size, most = len(text.encode()), rules.max_positions * _LONGEST_TOKEN
    if size > most:
        return (
            f"text is {size} bytes, far more than the {rules.max_positions} tokens "
            "that this model takes; shorten it"
        )
    for word in rules.special_words:
        if word in text:
            return f"text holds {word!r}, a control word of this model; remove it"
    return ""


def _limit(parameters: Mapping[str, Any], most: int) -> int | Refused | None:
    if MAX_TOKENS not in parameters:
        return None
    value = parameters[MAX_TOKENS]
    # True is an int to Python, not to those who ask.
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
        return value
    return Refused(f"{MAX_TOKENS} is {value!r}; give an integer from 1 to {most}")
