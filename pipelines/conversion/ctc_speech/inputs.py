"""What the network is fed, by the checkpoint's own extractor, and what a server must know of it.

The extractor is Transformers'; a serving program computes the same numbers without it. Runs in the
converter's environment.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.conversion.ctc_speech.source import CtcFacts

    Feed = dict[str, NDArray[Any]]

PREPROCESSOR = "preprocessor.json"
FILTERS = "mel_filters.npy"


class Extractor(ABC):
    """Sounds to the network's inputs."""

    names: tuple[str, ...]
    """The network's inputs, in its order."""

    @abstractmethod
    def __call__(self, sounds: Sequence[NDArray[np.float32]]) -> Feed:
        """The inputs by name for B sounds [n] of at most the window."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write `preprocessor.json` and what it names."""


def extractor_of(source: Path, facts: CtcFacts) -> Extractor:
    """The extractor of the checkpoint."""
    return (LogMel if facts.mel_bands else Waveform)(source, facts)


class LogMel(Extractor):
    """Whisper's log-mel features."""

    names = ("input_features",)

    def __init__(self, source: Path, facts: CtcFacts) -> None:
        from transformers import WhisperFeatureExtractor

        self._extractor = WhisperFeatureExtractor.from_pretrained(source, local_files_only=True)
        self._facts = facts

    def __call__(self, sounds: Sequence[NDArray[np.float32]]) -> Feed:
        """See Extractor."""
        rate = self._extractor.sampling_rate
        found = self._extractor(list(sounds), sampling_rate=rate, return_tensors="np")
        return {"input_features": found.input_features.astype(np.float32)}

    def write(self, folder: Path) -> None:
        """See Extractor."""
        extractor = self._extractor
        np.save(folder / FILTERS, np.asarray(extractor.mel_filters, dtype=np.float32))
        values = {
            "input": "log-mel",
            "sample_rate": int(extractor.sampling_rate),
            "window_samples": int(extractor.n_samples),
            "n_fft": int(extractor.n_fft),
            "hop_length": int(extractor.hop_length),
            "mel_bands": int(extractor.feature_size),
            "filters": FILTERS,
        }
        (folder / PREPROCESSOR).write_bytes(canonical_json(values) + b"\n")


class Waveform(Extractor):
    """wav2vec2's waveform: each sound normalised by itself, then zeros up to the window."""

    def __init__(self, source: Path, facts: CtcFacts) -> None:
        from transformers import Wav2Vec2FeatureExtractor

        self._extractor = Wav2Vec2FeatureExtractor.from_pretrained(source, local_files_only=True)
        self._facts = facts
        masked = ("attention_mask",) if self._extractor.return_attention_mask else ()
        self.names = ("input_values", *masked)

    def __call__(self, sounds: Sequence[NDArray[np.float32]]) -> Feed:
        """See Extractor."""
        rate, length = self._extractor.sampling_rate, self._facts.window_samples
        shape = (len(sounds), length)
        feed: Feed = {"input_values": np.zeros(shape, dtype=np.float32)}
        mask = np.zeros(shape, dtype=np.int32)
        for row, sound in enumerate(sounds):
            # One by one: without a mask, Transformers would count the padding in the mean.
            values = self._extractor(sound, sampling_rate=rate, return_tensors="np").input_values
            feed["input_values"][row, : sound.size] = values[0]
            mask[row, : sound.size] = 1
        return {name: {**feed, "attention_mask": mask}[name] for name in self.names}

    def write(self, folder: Path) -> None:
        """See Extractor."""
        values = {
            "input": "waveform",
            "sample_rate": int(self._extractor.sampling_rate),
            "window_samples": self._facts.window_samples,
            "normalise": bool(self._extractor.do_normalize),
            "mask": "attention_mask" in self.names,
        }
        (folder / PREPROCESSOR).write_bytes(canonical_json(values) + b"\n")
