"""Greedy decoding of a batch: the most probable token each step, until every sequence has ended.

The whole prompt goes through the decoder in one call. Sequences that have ended leave the batch
once they are half of it. Source: Radford et al. 2022, `whisper/decoding.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from .engines import Engine, State


@dataclass(frozen=True)
class Rules:
    """Token ids and bounds of one model's decoding."""

    prompt: tuple[int, ...]
    end_of_text: int
    no_speech: int | None
    max_new_tokens: int
    allowed: NDArray[np.float32]
    """0 for tokens that may be chosen, minus infinity for others, [vocabulary]."""
    allowed_at_start: NDArray[np.float32]
    """The same, for the first token of a transcript."""

    @classmethod
    def load(cls, folder: Path) -> Rules:
        """The rules of the variant in `folder`."""
        values = json.loads((folder / "decoding.json").read_bytes())
        allowed = np.zeros(values["vocabulary_size"], dtype=np.float32)
        allowed[values["suppressed"]] = -np.inf
        at_start = allowed.copy()
        at_start[values["suppressed_at_start"]] = -np.inf
        return cls(
            prompt=tuple(values["prompt"]),
            end_of_text=values["end_of_text"],
            no_speech=values["no_speech"],
            max_new_tokens=values["max_new_tokens"],
            allowed=allowed,
            allowed_at_start=at_start,
        )


@dataclass(frozen=True, slots=True)
class Sequence:
    """One decoded sequence.

    `tokens` leaves out prompt and end-of-text; `average_log_probability` is the mean natural
    logarithm over the chosen tokens, end-of-text included, at most 0; `no_speech_probability` is
    0 when the model has no such token.
    """

    tokens: tuple[int, ...]
    average_log_probability: float
    no_speech_probability: float


def decode(
    engine: Engine[Any], rules: Rules, features: NDArray[np.float32]
) -> tuple[Sequence, ...]:
    """One sequence for each of the log-mel features [B, bands, frames].

    Raises RuntimeError when the engine computes something that is not a number.
    """
    prompt = np.tile(np.array(rules.prompt, dtype=np.int64), (len(features), 1))
    logits, state = engine.decode(prompt, engine.encode(features))
    silence = _no_speech(logits, rules)
    batch = _Batch(len(features), rules)
    last = logits[:, -1] + rules.allowed_at_start
    while True:
        chosen = batch.choose(last)
        state = batch.drop_ended(engine, state)
        if not len(batch.rows):
            return batch.sequences(silence)
        logits, state = engine.decode(chosen[batch.kept][:, None], state)
        last = logits[:, -1] + rules.allowed


class _Batch:
    """Tokens and scores so far; `rows` are the sequences that the engine still works on."""

    def __init__(self, size: int, rules: Rules) -> None:
        self._rules = rules
        self._tokens = np.full((size, rules.max_new_tokens), rules.end_of_text, dtype=np.int64)
        self._scores = np.zeros((size, rules.max_new_tokens), dtype=np.float64)
        self._chosen = np.zeros(size, dtype=np.int64)
        self._active = np.ones(size, dtype=bool)
        self._step = 0
        self.rows = np.arange(size)
        self.kept: NDArray[np.int64] = self.rows

    def choose(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        """Take the best token of each row of `logits` [rows, vocabulary]; returns them."""
        chosen = np.asarray(logits.argmax(-1), dtype=np.int64)
        best = np.take_along_axis(logits, chosen[:, None], axis=-1)
        if not np.isfinite(best).all():
            raise RuntimeError("the model computed logits that are not numbers")
        scores = -np.log(np.exp(logits - best).sum(-1, dtype=np.float64))
        live = self._active[self.rows]
        rows = self.rows[live]
        self._tokens[rows, self._step] = chosen[live]
        self._scores[rows, self._step] = scores[live]
        self._chosen[rows] += 1
        self._active[rows] = chosen[live] != self._rules.end_of_text
        self._step += 1
        if self._step == self._rules.max_new_tokens:
            self._active[:] = False
        return chosen

    def drop_ended(self, engine: Engine[Any], state: State[Any]) -> State[Any]:
        """Let ended rows leave the state when they are half or more; `kept` says which stay."""
        live = np.flatnonzero(self._active[self.rows])
        self.kept = np.arange(len(self.rows))
        if 2 * len(live) > len(self.rows):
            return state
        self.kept = live
        self.rows = self.rows[live]
        return engine.select(state, live) if len(live) else state

    def sequences(self, silence: NDArray[np.float64]) -> tuple[Sequence, ...]:
        """What was decoded, in the order of the batch."""
        averages = self._scores.sum(-1) / self._chosen
        return tuple(
            Sequence(tuple(tokens[tokens != self._rules.end_of_text].tolist()), average, silent)
            for tokens, average, silent in zip(
                self._tokens, averages.tolist(), silence.tolist(), strict=True
            )
        )


def _no_speech(logits: NDArray[np.float32], rules: Rules) -> NDArray[np.float64]:
    """Probability of the no-speech token right after the start token, [B]."""
    if rules.no_speech is None:
        return np.zeros(len(logits))
    first = logits[:, 0].astype(np.float64)
    shares = np.exp(first - first.max(-1, keepdims=True))
    return np.asarray(shares[:, rules.no_speech] / shares.sum(-1))
