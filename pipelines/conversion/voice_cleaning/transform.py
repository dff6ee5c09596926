"""Sounds to the network's input and its output to sounds, by PyTorch.

The serving program does the same in NumPy. That the two agree is a test, so that what parity
measures here is what clients will hear. Runs in the converter's environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipelines.conversion.voice_cleaning.source import Enhancement


class Transform:
    """What lies around the network that an Enhancement describes."""

    def __init__(self, enhancement: Enhancement) -> None:
        self._how = enhancement

    def padded(self, sounds: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Sounds [n] with zeros to the window, [sounds, window_samples]."""
        rows = np.zeros((len(sounds), self._how.window_samples), np.float32)
        for row, sound in zip(rows, sounds, strict=True):
            row[: sound.size] = sound
        return rows

    def inputs(self, padded: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The network's feed for padded sounds."""
        if self._how.representation == "waveform":
            return {self._how.input: padded}
        return {self._how.input: self._spectrum(padded).abs().numpy()}

    def sounds(
        self, padded: NDArray[np.float32], output: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Cleaned sounds [sounds, window_samples] of padded sounds and the network's output."""
        import torch

        if self._how.representation == "waveform":
            return output
        masked = self._spectrum(padded) * torch.from_numpy(output)
        cleaned = torch.istft(
            masked.transpose(1, 2),
            self._how.n_fft,
            self._how.hop,
            window=torch.hann_window(self._how.n_fft),
            length=self._how.window_samples,
        )
        return np.asarray(cleaned.numpy())

    def _spectrum(self, padded: NDArray[np.float32]) -> Any:
        """Complex [sounds, frames, bins]."""
        import torch

        spectrum = torch.stft(
            torch.from_numpy(padded),
            self._how.n_fft,
            self._how.hop,
            window=torch.hann_window(self._how.n_fft),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        return spectrum.transpose(1, 2)
