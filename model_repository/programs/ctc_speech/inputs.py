"""Waveforms to what the network is fed: log-mel features, or the waveform itself as wav2vec2 asks.

The numbers are those of the checkpoint's own extractor in Transformers; `preprocessor.json` beside
the variant says which one it was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.features import LogMel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_EPSILON = 1e-7  # Wav2Vec2FeatureExtractor's


@dataclass(frozen=True)
class Inputs:
    """How the network of one variant is fed."""

    sample_rate: int
    window_samples: int
    _make: Callable[[Sequence[NDArray[np.float32]]], dict[str, NDArray[Any]]]

    @classmethod
    def load(cls, folder: Path) -> Inputs:
        """The inputs that the variant in `folder` was made for."""
        values = json.loads((folder / "preprocessor.json").read_bytes())
        window = values["window_samples"]
        if values["input"] == "log-mel":
            features = LogMel.load(folder)
            return cls(values["sample_rate"], window, lambda w: {"input_features": features(w)})
        padding = Padding(window, normalise=values["normalise"], mask=values["mask"])
        return cls(values["sample_rate"], window, padding)

    def __call__(self, waveforms: Sequence[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """The network's inputs by name, for B waveforms [n] of 1 to `window_samples` samples."""
        return self._make(waveforms)


@dataclass(frozen=True)
class Padding:
    """Waveforms with zeros up to the window, as Wav2Vec2FeatureExtractor gives a single one.

    With `normalise` each has mean 0 and variance 1 over its own samples, before the zeros; with
    `mask` the network is told which samples are sound.
    """

    window_samples: int
    normalise: bool
    mask: bool

    def __call__(self, waveforms: Sequence[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """`input_values` float32 [B, window], and `attention_mask` int32 [B, window] if asked."""
        shape = (len(waveforms), self.window_samples)
        values = np.zeros(shape, dtype=np.float32)
        for row, waveform in zip(values, waveforms, strict=True):
            row[: waveform.size] = _normalised(waveform) if self.normalise else waveform
        if not self.mask:
            return {"input_values": values}
        sizes = np.array([waveform.size for waveform in waveforms])
        heard = np.arange(self.window_samples) < sizes[:, None]
        return {"input_values": values, "attention_mask": heard.astype(np.int32)}


def _normalised(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    # In float64, because a quiet recording's offset can be far above its variance.
    exact = waveform.astype(np.float64)
    return np.asarray((exact - exact.mean()) / np.sqrt(exact.var() + _EPSILON), dtype=np.float32)
