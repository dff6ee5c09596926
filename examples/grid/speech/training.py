"""Clips to train on, made when they are wanted and never stored in the tree.

They use only voices that no held-out split uses, at any pitch and at rates from slow to
hurried, and are clean: the training script adds noise, another one in each epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speech.dataset import FULL_WINDOW
from speech.grammar import sentence, spoken
from speech.speakers import espeak_name, training_voices
from speech.synthesis import SAMPLE_RATE, Voice, synthesise

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_WORDS_PER_MINUTE = (96, 211)
_PITCH = (25, 76)


def write_training_clips(path: Path, count: int, seed: int) -> None:
    """Write `count` clips to an .npz with `samples`, `lengths` and `texts`.

    `samples` is int16 [sum of lengths], clip after clip; `lengths` int64 [count];
    `texts` unicode [count].
    """
    random = np.random.Generator(np.random.PCG64(seed))
    voices = training_voices()
    texts: list[str] = []
    clips: list[NDArray[np.int16]] = []
    while len(clips) < count:
        text = sentence(random)
        clip = synthesise(spoken(text), _voice(random, voices))
        if clip.size < FULL_WINDOW * SAMPLE_RATE:
            texts.append(text)
            clips.append(clip)
    _save(path, clips, texts)


def _voice(random: np.random.Generator, voices: tuple[tuple[str, str], ...]) -> Voice:
    accent, timbre = voices[int(random.integers(len(voices)))]
    return Voice(
        name=espeak_name(accent, timbre),
        words_per_minute=int(random.integers(*_WORDS_PER_MINUTE)),
        pitch=int(random.integers(*_PITCH)),
        pitch_range=int(random.integers(*_PITCH)),
    )


def _save(path: Path, clips: list[NDArray[np.int16]], texts: list[str]) -> None:
    lengths = np.array([clip.size for clip in clips], dtype=np.int64)
    np.savez(path, samples=np.concatenate(clips), lengths=lengths, texts=np.array(texts))
