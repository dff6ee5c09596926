"""Whisper's log-mel features in plain NumPy, for a batch of waveforms.

Every model with a Whisper encoder hears them, whatever writes its transcript. The numbers are those
of Transformers' WhisperFeatureExtractor, to less than 1e-4: waveform padded with zeros to the
window, reflected at both ends, periodic Hann window, power spectrum, mel filter bank, log10 floored
at 1e-10, at most 8 below the loudest, shifted and scaled (Radford et al. 2022, `whisper/audio.py`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_FLOOR = 1e-10
_QUIET = np.float32(np.log10(_FLOOR))
_RANGE = np.float32(8.0)


@dataclass(frozen=True)
class LogMel:
    """Features of waveforms of up to `window_samples` samples at `sample_rate` Hz."""

    sample_rate: int
    window_samples: int
    n_fft: int
    hop_length: int
    filters: NDArray[np.float32]
    """Mel filter bank, [n_fft / 2 + 1, bands]."""

    @classmethod
    def load(cls, folder: Path) -> LogMel:
        """The features that the variant in `folder` was made for."""
        values = json.loads((folder / "preprocessor.json").read_bytes())
        return cls(
            sample_rate=values["sample_rate"],
            window_samples=values["window_samples"],
            n_fft=values["n_fft"],
            hop_length=values["hop_length"],
            filters=np.load(folder / values["filters"], allow_pickle=False),
        )

    def __call__(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Log-mel features [B, bands, window_samples / hop_length] of B waveforms.

        Each waveform is float32 [n], 1 <= n <= window_samples.
        """
        frames = self.window_samples // self.hop_length
        shape = (len(waveforms), self.filters.shape[1], frames)
        features = np.empty(shape, dtype=np.float32)
        # One by one: a waveform's temporaries fit the cache, a batch's cost page faults (2x).
        for row, waveform in zip(features, waveforms, strict=True):
            mel = np.log10(np.maximum(self._mel_power(waveform), _FLOOR))
            lowest = mel.max() - _RANGE
            row[:, : len(mel)] = _scaled(np.maximum(mel, lowest)).T
            # What no sound reaches has no power, so its logarithm is known and not computed.
            row[:, len(mel) :] = _scaled(np.maximum(_QUIET, lowest))
        return features

    def _mel_power(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Power in mel bands of the frames that the waveform reaches, [frames, bands]."""
        framed = self._frames(waveform)
        # NumPy transforms in float64: bands 8 decades below the loudest need it.
        spectrum = np.fft.rfft(framed * self._window, axis=-1).astype(np.complex64)
        parts = spectrum.view(np.float32)
        np.multiply(parts, parts, out=parts)
        return np.asarray(parts @ self._filters_of_parts)

    def _frames(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """Overlapping frames that hold sound, [frames, n_fft], mirrored at the window's ends."""
        half = self.n_fft // 2
        reached = (waveform.size + half) // self.hop_length + 1
        count = min(reached, self.window_samples // self.hop_length)
        padded = np.zeros(self.window_samples + 2 * half, dtype=np.float32)
        padded[half : half + waveform.size] = waveform
        padded[:half] = padded[2 * half : half : -1]
        padded[-half:] = padded[-half - 2 : -2 * half - 2 : -1]
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft)
        return frames[: count * self.hop_length : self.hop_length]

    @cached_property
    def _window(self) -> NDArray[np.float64]:
        """Hann, periodic, [n_fft]."""
        turns = np.arange(self.n_fft) / self.n_fft
        return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * turns), dtype=np.float64)

    @cached_property
    def _filters_of_parts(self) -> NDArray[np.float32]:
        """The filter bank for squared real and imaginary parts in turn, [n_fft + 2, bands]."""
        return np.repeat(self.filters.astype(np.float32), 2, axis=0)


def _scaled(logarithm: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((logarithm + 4.0) / 4.0, dtype=np.float32)
