"""What a variant's `generation.json` says: how questions become tokens, and what ends an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Rules:
    """Token ids and bounds of one model's generation."""

    end: frozenset[int]
    """Any of these ends an answer."""
    stop: tuple[str, ...]
    """An answer's text ends before the first of these."""
    allowed: NDArray[np.float32]
    """0 for tokens that may be chosen, minus infinity for others, [vocabulary]."""
    max_positions: int
    """Most tokens of a question; of a causal model, of question and answer together."""
    max_new_tokens: int
    """Most tokens of an answer, its end included."""
    causal: bool
    prompt_template: str
    """What the model is given, with `{text}` in place of the question."""
    special_words: tuple[str, ...]
    """Words that the tokenizer would read as control tokens."""

    @classmethod
    def load(cls, folder: Path) -> Rules:
        """The rules of the variant in `folder`."""
        values = json.loads((folder / "generation.json").read_bytes())
        allowed = np.zeros(values["vocabulary_size"], dtype=np.float32)
        allowed[values["bad_tokens"]] = -np.inf
        return cls(
            end=frozenset(values["end"]),
            stop=tuple(values["stop"]),
            allowed=allowed,
            max_positions=values["max_positions"],
            max_new_tokens=values["max_new_tokens"],
            causal=values["architecture"] == "causal",
            prompt_template=values["prompt_template"],
            special_words=tuple(values["special_words"]),
        )

    def prompt(self, text: str) -> str:
        """The template with the question in it; braces elsewhere mean themselves."""
        return self.prompt_template.replace("{text}", text)

    def room(self, prompt_tokens: int) -> int:
        """Most tokens, end included, of an answer to a prompt of so many; below 1 for none."""
        if self.causal:
            return min(self.max_new_tokens, self.max_positions - prompt_tokens)
        return self.max_new_tokens if prompt_tokens <= self.max_positions else 0
