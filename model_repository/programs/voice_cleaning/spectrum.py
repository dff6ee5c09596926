"""The short-time Fourier transform and its inverse in plain NumPy, for waveforms in a fixed window.

Frames are centred at multiples of the hop; half a frame of zeros lies before the window and after
it. The inverse is the least-squares one (Griffin and Lim, "Signal estimation from modified
short-time Fourier transform", IEEE TASSP 32(2), 1984, equation 6), so an untouched spectrum gives
the waveform back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ShortTimeFourier:
    """`n_fft` samples a frame, even; `hop` between frames, at most half of it.

    The window holds `window_samples`, a multiple of the hop.
    """

    window_samples: int
    n_fft: int
    hop: int

    @property
    def frames(self) -> int:
        """Frames of a whole window."""
        return self.window_samples // self.hop + 1

    @property
    def bins(self) -> int:
        """Frequencies of a frame."""
        return self.n_fft // 2 + 1

    def spectrum(self, waveform: NDArray[np.float32]) -> NDArray[np.complex64]:
        """The frames that a waveform [n], n <= window_samples, reaches: [reached, bins].

        All later frames of the window are zero.
        """
        half = self.n_fft // 2
        reached = min(self.frames, (waveform.size + half - 1) // self.hop + 1)
        padded = np.zeros((reached - 1) * self.hop + self.n_fft, dtype=np.float32)
        padded[half : half + waveform.size] = waveform
        framed = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft)[:: self.hop]
        return np.fft.rfft(framed * self._window, axis=-1).astype(np.complex64)

    def waveform(self, spectrum: NDArray[np.complex64], samples: int) -> NDArray[np.float32]:
        """The waveform [samples] of a spectrum [reached, bins]; later frames count as zero."""
        half = self.n_fft // 2
        framed = np.fft.irfft(spectrum, self.n_fft, axis=-1) * self._window
        summed = _overlapped(framed, self.hop)
        room = np.zeros(half + samples)
        kept = min(room.size, summed.size)
        room[:kept] = summed[:kept]
        return (room[half:] / self._weight[half : half + samples]).astype(np.float32)

    @cached_property
    def _window(self) -> NDArray[np.float64]:
        """Hann, periodic, [n_fft]."""
        turns = np.arange(self.n_fft) / self.n_fft
        return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * turns), dtype=np.float64)

    @cached_property
    def _weight(self) -> NDArray[np.float64]:
        """Sum of the squared windows of all frames at each sample, the zeros before included."""
        squared = np.broadcast_to(self._window**2, (self.frames, self.n_fft))
        return _overlapped(squared, self.hop)


def _overlapped(framed: NDArray[np.float64], hop: int) -> NDArray[np.float64]:
    """Frames [f, n] each added `hop` samples after the one before: [(f - 1) * hop + n] or more."""
    frames, size = framed.shape
    parts = -(-size // hop)
    rows = np.zeros((frames + parts - 1, hop))
    for part in range(parts):
        piece = framed[:, part * hop : (part + 1) * hop]
        rows[part : part + frames, : piece.shape[1]] += piece
    return rows.reshape(-1)
