"""Background noise at a stated signal-to-noise ratio, in integers.

The gain is rounded to a whole number before any sample is multiplied by it, so that a
last bit of a square root cannot change a byte of a clip.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FRACTION_BITS = 20


def add_noise(
    samples: NDArray[np.int16], decibels: float, random: np.random.Generator
) -> NDArray[np.int16]:
    """Add low-passed noise to `samples` [n] so that speech is `decibels` louder.

    Both powers are means over the whole clip. What leaves the range of int16 is clipped.
    """
    noise = _coloured(random, samples.size)
    gain = math.sqrt(_power(samples) / _power(noise)) * 10 ** (-decibels / 20)
    fixed = round(gain * (1 << _FRACTION_BITS))
    scaled = (noise * fixed + (1 << (_FRACTION_BITS - 1))) >> _FRACTION_BITS
    limits = np.iinfo(np.int16)
    return np.clip(samples + scaled, limits.min, limits.max).astype(np.int16)


def _coloured(random: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Noise that falls towards 8 kHz: near-Gaussian draws, each averaged with the next."""
    draws = random.integers(-4096, 4096, size=(4, count + 1), dtype=np.int64, endpoint=True)
    white: NDArray[np.int64] = draws.sum(axis=0)
    return white[1:] + white[:-1]


def _power(samples: NDArray[np.int16] | NDArray[np.int64]) -> float:
    wide = samples.astype(np.int64)
    return int((wide * wide).sum()) / max(1, samples.size)
