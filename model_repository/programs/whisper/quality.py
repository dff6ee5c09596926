"""Signals that need no reference text: what a transcript and its audio say about each other.

Used for the answer's quality outputs and the prediction log. Pure functions of NumPy arrays.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FRAME_S = 0.02
_MAX_PERIOD = 8
_MIN_REPEATS = 3
_MIN_REPEATED = 6
_SILENCE_DB = -100.0


@dataclass(frozen=True, slots=True)
class Sound:
    """Level of a waveform.

    `rms` is linear, full scale 1. `speech_ratio` is the share of 20 ms frames within 30 dB of
    the loudest tenth and 6 dB above the quietest tenth, 0 to 1. `snr_db` is the loudest tenth of
    frames against the quietest tenth, 0 to 100 dB.
    """

    rms: float
    speech_ratio: float
    snr_db: float


def compression_ratio(text: str) -> float:
    """UTF-8 bytes of `text` over their size under zlib; 0 for no text.

    Above about 2.4 a long transcript repeats itself (Radford et al. 2022, section 4.5).
    """
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def is_looping(tokens: Sequence[int]) -> bool:
    """Whether the tokens end in a phrase of up to 8 said three times or more, six tokens in all."""
    for period in range(1, min(_MAX_PERIOD, len(tokens) // _MIN_REPEATS) + 1):
        repeats = max(_MIN_REPEATS, -(-_MIN_REPEATED // period))
        tail = tokens[-repeats * period :]
        if len(tail) == repeats * period and tail[period:] == tail[:-period]:
            return True
    return False


def describe(waveform: NDArray[np.float32], sample_rate: int) -> Sound:
    """Level, share of speech and signal-to-noise ratio of float32 [n], n >= 1."""
    squared = np.square(waveform)
    rms = float(np.sqrt(squared.mean(dtype=np.float64)))
    width = min(int(_FRAME_S * sample_rate), squared.size)
    frames = squared[: squared.size // width * width].reshape(-1, width).mean(axis=1)
    levels = 10 * np.log10(np.maximum(frames, 10 ** (_SILENCE_DB / 10)))
    quiet, loud = np.percentile(levels, (10, 90))
    heard = (levels > loud - 30) & (levels > quiet + 6) & (levels > _SILENCE_DB)
    return Sound(rms, float(heard.mean()), float(loud - quiet))
