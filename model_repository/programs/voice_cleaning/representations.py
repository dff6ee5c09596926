"""What lies around the network: waveforms to its input, and its output to waveforms.

A variant's `enhancement.json` says which of the two its network takes.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .spectrum import ShortTimeFourier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ..common.answers import Network

    Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class Representation(ABC):
    """`sample_rate` in Hz; the network's window in samples, and its tensors' names."""

    sample_rate: int
    window_samples: int
    input: str
    output: str

    @abstractmethod
    def clean(self, network: Network, waveforms: Sequence[Waveform]) -> list[Waveform]:
        """Each waveform [n], 1 <= n <= window_samples, cleaned; one call of the network."""

    def _ask(self, network: Network, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output for the rows of a batch, of their shape."""
        answered = network({self.input: rows})[self.output]
        if answered.shape != rows.shape:
            raise RuntimeError(f"the network answered {answered.shape} to {rows.shape}")
        if not np.isfinite(answered).all():
            raise RuntimeError("the network answered NaN or infinity")
        return answered


class WholeWaveform(Representation):
    """The network takes a padded waveform and gives it cleaned."""

    def clean(self, network: Network, waveforms: Sequence[Waveform]) -> list[Waveform]:
        """See Representation."""
        rows = np.zeros((len(waveforms), self.window_samples), dtype=np.float32)
        for row, waveform in zip(rows, waveforms, strict=True):
            row[: waveform.size] = waveform
        answered = self._ask(network, rows).astype(np.float32, copy=False)
        return [row[: waveform.size] for row, waveform in zip(answered, waveforms, strict=True)]


@dataclass(frozen=True)
class MaskedSpectrum(Representation):
    """The network takes magnitudes and gives the share of each that is speech; phases stay."""

    transform: ShortTimeFourier

    def clean(self, network: Network, waveforms: Sequence[Waveform]) -> list[Waveform]:
        """See Representation."""
        spectra = [self.transform.spectrum(waveform) for waveform in waveforms]
        shape = (len(spectra), self.transform.frames, self.transform.bins)
        rows = np.zeros(shape, dtype=np.float32)
        for row, spectrum in zip(rows, spectra, strict=True):
            np.abs(spectrum, out=row[: len(spectrum)])
        masks = self._ask(network, rows)
        return [
            self.transform.waveform(spectrum * mask[: len(spectrum)], waveform.size)
            for spectrum, mask, waveform in zip(spectra, masks, waveforms, strict=True)
        ]


def load_representation(folder: Path) -> Representation:
    """The representation that the variant in `folder` was made for."""
    values: Mapping[str, Any] = json.loads((folder / "enhancement.json").read_bytes())
    common = {name: values[name] for name in ("sample_rate", "window_samples", "input", "output")}
    if values["representation"] == "waveform":
        return WholeWaveform(**common)
    transform = ShortTimeFourier(values["window_samples"], values["n_fft"], values["hop"])
    return MaskedSpectrum(**common, transform=transform)
