"""Four kinds of background noise in integers, and mixing at a stated signal-to-noise ratio.

Draws are integers, filters are sums, and a gain is rounded to a whole number before a sample is
multiplied by it, so that a last bit of a square root cannot change a byte of a clip.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from speech.synthesis import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NoiseKind = Literal["hiss", "rumble", "hum", "babble"]
KINDS: tuple[NoiseKind, ...] = ("hiss", "rumble", "hum", "babble")
"""A fan, traffic behind a wall, the mains, and other people talking."""
TALKERS = 4
"""Voices of a babble."""

_FRACTION_BITS = 20
_RUMBLE_WIDTH = 24  # samples of each of two moving sums: -6 dB at 300 Hz
_HARMONICS = 12


def make_noise(
    kind: NoiseKind,
    count: int,
    talkers: Sequence[NDArray[np.int16]],
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """Return `count` samples of noise at any level; `talkers` are clips that a babble mixes."""
    if kind == "hiss":
        return _hiss(count, random)
    if kind == "rumble":
        return _rumble(count, random)
    if kind == "hum":
        return _hum(count, random)
    return _babble(count, talkers, random)


def mix(samples: NDArray[np.int16], noise: NDArray[np.int64], decibels: float) -> NDArray[np.int16]:
    """Add `noise` [n] to `samples` [n] so that speech is `decibels` louder.

    Both powers are means over the whole clip. What leaves the range of int16 is clipped.
    """
    gain = math.sqrt(_power(samples) / max(1.0, _power(noise))) * 10 ** (-decibels / 20)
    fixed = round(gain * (1 << _FRACTION_BITS))
    scaled = (noise * fixed + (1 << (_FRACTION_BITS - 1))) >> _FRACTION_BITS
    limits = np.iinfo(np.int16)
    return np.clip(samples + scaled, limits.min, limits.max).astype(np.int16)


def _white(count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Near-Gaussian: the sum of four uniform draws."""
    draws = random.integers(-4096, 4096, size=(4, count), dtype=np.int64, endpoint=True)
    summed: NDArray[np.int64] = draws.sum(axis=0)
    return summed


def _hiss(count: int, random: np.random.Generator) -> NDArray[np.int64]:
    white = _white(count + 1, random)
    return white[1:] + white[:-1]


def _rumble(count: int, random: np.random.Generator) -> NDArray[np.int64]:
    sound = _white(count + 2 * _RUMBLE_WIDTH, random)
    for _ in range(2):
        total = np.cumsum(sound)
        sound = total[_RUMBLE_WIDTH:] - total[:-_RUMBLE_WIDTH]
    # Small enough that a product with a gain stays far inside 64 bits.
    return sound // _RUMBLE_WIDTH


def _hum(count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """The mains at 50 or 60 Hz with its harmonics, over a faint hiss."""
    mains = 50 + 10 * int(random.integers(2))
    time = np.arange(count, dtype=np.int64)
    sound = _hiss(count, random) // 16
    for harmonic in range(1, _HARMONICS + 1):
        phase, level = int(random.integers(SAMPLE_RATE)), int(random.integers(1, 9))
        turns = (time * (mains * harmonic) + phase) % SAMPLE_RATE
        sound = sound + _sine()[turns] * level // harmonic
    return sound


def _babble(
    count: int, talkers: Sequence[NDArray[np.int16]], random: np.random.Generator
) -> NDArray[np.int64]:
    """`TALKERS` different clips at once, each repeated from a random start and as loud."""
    sound = np.zeros(count, dtype=np.int64)
    for index in random.permutation(len(talkers))[:TALKERS]:
        clip = talkers[int(index)].astype(np.int64)
        start = int(random.integers(clip.size))
        loudness = max(1, math.isqrt(int((clip * clip).sum()) // clip.size))
        sound += clip[(np.arange(count) + start) % clip.size] * 4096 // loudness
    return sound


def _power(samples: NDArray[np.int16] | NDArray[np.int64]) -> float:
    wide = samples.astype(np.int64)
    return int((wide * wide).sum()) / max(1, samples.size)


@cache
def _sine() -> NDArray[np.int64]:
    """One turn of a sine in `SAMPLE_RATE` steps; rounding hides what machines differ in."""
    turns = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    table: NDArray[np.int64] = np.rint(4096 * np.sin(2 * np.pi * turns)).astype(np.int64)
    return table
