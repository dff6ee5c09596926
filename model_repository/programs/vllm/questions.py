"""What a question to vLLM must be, and what the engine is told of it. Knows no server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

RULES = "vllm.json"
MAX_TOKENS = "max_tokens"
"""Request parameter: most tokens of the answer, its end included."""
_LONGEST_TOKEN = 64  # UTF-8 bytes; what is longer than all positions of them need not be tokenized


@dataclass(frozen=True)
class Rules:
    """What a variant's `vllm.json` says of asking it."""

    prompt_template: str
    """What the model is given, with `{text}` in place of the question."""
    end: tuple[int, ...]
    """Ids each of which ends an answer."""
    stop: tuple[str, ...]
    """Texts before which an answer ends."""
    special_words: tuple[str, ...]
    """Words that the tokenizer would read as control tokens."""
    max_positions: int
    """Most tokens of prompt and answer together."""
    max_new_tokens: int
    """Most tokens of an answer, its end included."""

    @property
    def longest_bytes(self) -> int:
        """UTF-8 bytes of a text that is too long for certain."""
        return self.max_positions * _LONGEST_TOKEN

    @classmethod
    def load(cls, folder: Path) -> Rules:
        """The rules of the variant in `folder`."""
        values = json.loads((folder / RULES).read_bytes())
        return cls(
            prompt_template=values["prompt_template"],
            end=tuple(values["end"]),
            stop=tuple(values["stop"]),
            special_words=tuple(values["special_words"]),
            max_positions=values["max_positions"],
            max_new_tokens=values["max_new_tokens"],
        )


@dataclass(frozen=True)
class Question:
    """A sound request: the prompt, and vLLM's sampling parameters by name.

    `is_limited`: the caller asked for no more tokens than these parameters say.
    """

    prompt: str
    sampling: Mapping[str, Any]
    is_limited: bool = False


@dataclass(frozen=True)
class Refused:
    """Why a request is not answered, and what to do."""

    reason: str


def ask(
    data: bytes,
    parameters: Mapping[str, Any],
    rules: Rules,
    encode: Callable[[str], Sequence[int]],
) -> Question | Refused:
    """The question that a request's bytes and parameters make under a model's rules.

    `encode` gives the ids that the engine will read for a prompt, those that it adds included.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return Refused(f"text is not UTF-8 at byte {error.start}; encode it as UTF-8")
    if reason := _unsound(text, len(data), rules):
        return Refused(reason)
    prompt = rules.prompt_template.replace("{text}", text)
    length = len(encode(prompt))
    room = min(rules.max_new_tokens, rules.max_positions - length)
    if room < 1:
        return Refused(
            f"text is {length} tokens, this model takes at most {rules.max_positions - 1}; "
            "shorten it"
        )
    limit = parameters.get(MAX_TOKENS, room)
    # True is an int to Python, not to those who ask.
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= room:
        return Refused(
            f"{MAX_TOKENS} is {limit!r}; after a text of {length} tokens give an integer "
            f"from 1 to {room}"
        )
    return Question(prompt, _sampling(rules, limit), MAX_TOKENS in parameters)


def _sampling(rules: Rules, limit: int) -> dict[str, Any]:
    """Keys of vLLM's SamplingParams. Greedy: a gate's verdict is about one answer."""
    return {
        "temperature": 0.0,
        "max_tokens": limit,
        "stop": list(rules.stop),
        "stop_token_ids": list(rules.end),
        # Without it the engine adds up no probabilities.
        "logprobs": 1,
    }


def _unsound(text: str, size: int, rules: Rules) -> str:
    if not text.strip():
        return "text is empty; send at least one character that is not a space"
    if size > rules.longest_bytes:
        return (
            f"text is {size} bytes, far more than the {rules.max_positions} tokens "
            "that this model takes; shorten it"
        )
    for word in rules.special_words:
        if word in text:
            return f"text holds {word!r}, a control word of this model; remove it"
    return ""
