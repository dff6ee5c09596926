"""Clips to train on, made when they are wanted and never stored in the tree.

They use only voices that neither evaluation nor live uses, at any pitch and at rates from slow to
hurried, and are clean: the training script adds noise, another one in each epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speech.dataset import FULL_WINDOW
from speech.draws import training_draws
from speech.grammar import spoken
from speech.synthesis import SAMPLE_RATE, synthesise

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def write_training_clips(path: Path, count: int, seed: int) -> None:
    """Write `count` clips to an .npz with `samples`, `lengths` and `texts`.

    `samples` is int16 [sum of lengths], clip after clip; `lengths` int64 [count];
    `texts` unicode [count].
    """
    texts: list[str] = []
    clips: list[NDArray[np.int16]] = []
    for text, voice in training_draws(seed):
        if len(clips) == count:
            break
        clip = synthesise(spoken(text), voice)
        if clip.size < FULL_WINDOW * SAMPLE_RATE:
            texts.append(text)
            clips.append(clip)
    _save(path, clips, texts)


def _save(path: Path, clips: list[NDArray[np.int16]], texts: list[str]) -> None:
    lengths = np.array([clip.size for clip in clips], dtype=np.int64)
    np.savez(path, samples=np.concatenate(clips), lengths=lengths, texts=np.array(texts))
