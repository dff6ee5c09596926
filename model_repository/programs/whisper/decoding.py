"""Decodes a batch: sound and prompt through the engine once, then a search for the tokens.

The whole prompt goes through the decoder in one call, and its keys and values stay with the
engine; no later step computes them again. Source: Radford et al. 2022, `whisper/decoding.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import beam, greedy
from .constraints import constraint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .engines import Engine
    from .rules import Options, Rules


@dataclass(frozen=True, slots=True)
class Sequence:
    """One decoded sequence.

    `tokens` leaves out prompt and end-of-text; `average_log_probability` is the mean natural
    logarithm over the `chosen` tokens, end-of-text included, at most 0; `no_speech_probability`
    is 0 when the model has no such token; `entropy` and `is_cut_off` are those of a Hypothesis.
    """

    tokens: tuple[int, ...]
    average_log_probability: float
    chosen: int
    no_speech_probability: float
    entropy: float | None = None
    is_cut_off: bool = False


def decode(
    engine: Engine, rules: Rules, options: Options, features: NDArray[np.float32]
) -> tuple[Sequence, ...]:
    """One sequence for each of the log-mel features [B, bands, frames].

    Raises RuntimeError when the engine computes something that is not a number.
    """
    prompt = np.tile(np.array(options.prompt, dtype=np.int64), (len(features), 1))
    logits, state = engine.decode(prompt, engine.encode(features))
    silence = _no_speech(logits[:, 0], rules)
    start = (engine, constraint(rules, options), logits[:, -1], state)
    longest, end = rules.max_length - len(options.prompt), rules.end_of_text
    if options.beam_size == 1:
        found = greedy.search(*start, end_of_text=end, longest=longest)
    else:
        beams = options.beam_size
        found = beam.search(*start, end_of_text=end, longest=longest, beam_size=beams)
    return tuple(
        Sequence(
            one.tokens,
            one.average_log_probability,
            one.chosen,
            silent,
            one.entropy,
            one.is_cut_off,
        )
        for one, silent in zip(found, silence.tolist(), strict=True)
    )


def _no_speech(first: NDArray[np.float32], rules: Rules) -> NDArray[np.float64]:
    """Probability of the no-speech token right after the start token, [B]."""
    if rules.no_speech is None:
        return np.zeros(len(first))
    # The sum alone needs more than float32 has: small models put all but 1e-7 on one token.
    shares = np.exp(first - first.max(-1, keepdims=True))
    return np.asarray(shares[:, rules.no_speech] / np.add.reduce(shares, axis=-1, dtype=np.float64))
