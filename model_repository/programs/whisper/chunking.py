"""Where audio longer than the model's window is cut: in a pause, else with an overlap.

A cut in a pause parts no word, so nothing needs to be heard twice (Bain et al. 2023, WhisperX,
cut and merge by voice activity). Where nobody pauses, neighbours overlap, and `stitching` finds
the words that both heard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FRAME_S = 0.02
_PAUSE_S = 0.16
"""The shortest pause; stops between the sounds of a word are shorter (about .05 to .12 s)."""
_SHORTEST = 1 / 3
"""The shortest chunk, as a share of the window: each costs a whole window of the encoder."""
_RANGE_DB = 40.0
"""Levels further below the loud ones than this are all the same silence."""
_CONTRAST_DB = 6.0
"""Where loud and quiet differ by less, no part is silence: it is one steady sound."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples `begin` to `end` of a waveform."""

    begin: int
    end: int


def cut(
    waveform: NDArray[np.float32], *, rate: int, window: int, overlap: int
) -> tuple[Chunk, ...]:
    """Chunks of at most `window` samples that cover float32 [n], n >= 1, in order.

    Where a chunk ends in no pause, the next one begins `overlap` samples, 0 to `window` / 2,
    before its end. There are at most 1 + 3 n / `window` of them.
    """
    chunks: list[Chunk] = []
    begin, end = 0, waveform.size
    pauses = _pauses(waveform, rate) if end > window else []
    while end - begin > window:
        middle = _longest_pause(pauses, begin + int(_SHORTEST * window), begin + window, rate)
        chunks.append(Chunk(begin, begin + window if middle is None else middle))
        begin = chunks[-1].end - (overlap if middle is None else 0)
    return (*chunks, Chunk(begin, end))


def _longest_pause(
    pauses: list[tuple[int, int]], earliest: int, latest: int, rate: int
) -> int | None:
    """The middle of the longest pause between two samples; of equal ones, of the last."""
    inside = [(max(begin, earliest), min(end, latest)) for begin, end in pauses]
    length, middle = max(
        ((end - begin, (begin + end) // 2) for begin, end in inside), default=(0, 0)
    )
    return middle if length >= _PAUSE_S * rate else None


def _pauses(waveform: NDArray[np.float32], rate: int) -> list[tuple[int, int]]:
    """Begin and end, in samples, of every stretch that is quiet for a pause's length."""
    width = int(_FRAME_S * rate)
    frames = waveform[: waveform.size // width * width].reshape(-1, width)
    powers = np.square(frames, dtype=np.float64).mean(axis=1)
    levels = 10 * np.log10(np.maximum(powers, 1e-12))
    loud, low = np.percentile(levels, (90, 10))
    if loud - low < _CONTRAST_DB:
        return []
    quiet_level = max(low, loud - _RANGE_DB)
    quiet = levels < quiet_level + (loud - quiet_level) / 4
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8)))
    spans = edges.reshape(-1, 2) * width
    return [(begin, end) for begin, end in spans.tolist() if end - begin >= _PAUSE_S * rate]
