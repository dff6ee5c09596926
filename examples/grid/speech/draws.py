"""What training clips say and who says it, drawn without a sound.

They stand apart from the clips so that another split can know which sentences to leave out.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from speech.grammar import sentence
from speech.speakers import espeak_name, training_voices
from speech.synthesis import Voice

if TYPE_CHECKING:
    from collections.abc import Iterator

TRAINING_SEED = 7
"""Seed with which every example model was trained."""

_LONGEST_TRAINING = 10_000  # draws: 8,000 clips, and what did not fit the window
_WORDS_PER_MINUTE = (96, 211)
_PITCH = (25, 76)


def training_draws(seed: int) -> Iterator[tuple[str, Voice]]:
    """Yield sentences and voices for ever; voices are those of training."""
    random = np.random.Generator(np.random.PCG64(seed))
    voices = training_voices()
    while True:
        text = sentence(random)
        yield text, _voice(random, voices)


def training_sentences() -> frozenset[str]:
    """Return all that was said to the example models in training, and some more."""
    draws = islice(training_draws(TRAINING_SEED), _LONGEST_TRAINING)
    return frozenset(text for text, _ in draws)


def _voice(random: np.random.Generator, voices: tuple[tuple[str, str], ...]) -> Voice:
    accent, timbre = voices[int(random.integers(len(voices)))]
    return Voice(
        name=espeak_name(accent, timbre),
        words_per_minute=int(random.integers(*_WORDS_PER_MINUTE)),
        pitch=int(random.integers(*_PITCH)),
        pitch_range=int(random.integers(*_PITCH)),
    )
