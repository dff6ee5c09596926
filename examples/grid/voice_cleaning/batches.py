"""Training pairs, another noise for each clip in each epoch.

Clips are those of `speech.training`, whose voices no held-out set uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from voice_cleaning.noises import KINDS, TALKERS, make_noise, mix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_DECIBELS = (-4.0, 16.0)
_ALMOST_CLEAN = 0.05  # share of clips with 40 dB: what is clean must stay so
_LEVELS = (-24.0, 3.0)  # decibels by which a pair is made louder
_LONGEST_LEAD = 4000  # samples of silence before a clip


@dataclass(frozen=True)
class Batch:
    """`noisy` and `clean`, float32 [clips, samples] in [-1, 1]; silence follows short clips."""

    noisy: torch.Tensor
    clean: torch.Tensor


class TrainingPairs:
    """Clean clips in memory, spoilt as they are drawn."""

    def __init__(self, path: Path, seed: int) -> None:
        """Read an .npz of `speech.training`; `seed` decides order and noise."""
        with np.load(path) as stored:
            ends = np.cumsum(stored["lengths"])
            self._clips = np.split(stored["samples"], ends[:-1])
        self._random = np.random.default_rng(seed)

    def batches(self, size: int, samples: int) -> Iterator[Batch]:
        """Yield batches of `size` pairs of `samples` samples for ever, each clip once an epoch."""
        while True:
            order = self._random.permutation(len(self._clips)).tolist()
            for start in range(0, len(order) - size + 1, size):
                pairs = [self._pair(index, samples) for index in order[start : start + size]]
                noisy, clean = (np.stack(part) for part in zip(*pairs, strict=True))
                yield Batch(torch.from_numpy(noisy), torch.from_numpy(clean))

    def _pair(self, index: int, samples: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        random = self._random
        clip = self._clips[index]
        lead = int(random.integers(_LONGEST_LEAD)) * int(random.integers(2))
        sound = np.concatenate([np.zeros(lead, np.int16), clip])[:samples]
        chosen = random.integers(len(self._clips), size=TALKERS)
        noise = make_noise(
            KINDS[int(random.integers(len(KINDS)))],
            sound.size,
            [self._clips[int(other)] for other in chosen],
            random,
        )
        decibels = 40.0 if random.random() < _ALMOST_CLEAN else float(random.uniform(*_DECIBELS))
        level = np.float32(10 ** (random.uniform(*_LEVELS) / 20) / 32_768)
        noisy, clean = (np.zeros(samples, np.float32) for _ in range(2))
        noisy[: sound.size] = mix(sound, noise, decibels) * level
        clean[: sound.size] = sound * level
        return noisy, clean
