"""A variant that answers: waveforms in, answers with their quality signals out. Knows no server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .decoding import Rules, decode
from .engines import load_engine
from .features import LogMel
from .quality import compression_ratio, is_looping
from .tokens import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_LOUDEST = 1e4  # far above any scaling of audio; squares of larger ones leave float32


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says about one waveform."""

    transcript: str
    average_log_probability: float
    no_speech_probability: float
    token_count: int
    compression_ratio: float
    looping: bool


class Transcriber:
    """Features, decoding and text of one variant."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._features = LogMel.load(folder)
        self._rules = Rules.load(folder)
        self._vocabulary = Vocabulary(folder)
        self._engine = load_engine(folder, threads)

    @property
    def sample_rate(self) -> int:
        """Samples a second of the waveforms, the only rate that is taken."""
        return self._features.sample_rate

    def refusal(self, waveform: NDArray[np.float32], parameters: Mapping[str, Any]) -> str:
        """Why a request with this waveform [n] must be refused; empty when it is sound."""
        rate, window = self._features.sample_rate, self._features.window_samples
        if not waveform.size:
            return "waveform is empty; send at least one sample"
        if waveform.size > window:
            return (
                f"waveform has {waveform.size} samples, {waveform.size / rate:.2f} s; "
                f"this model hears at most {window} ({window / rate:g} s)"
            )
        if not np.isfinite(waveform).all():
            return "waveform holds NaN or infinity; send finite samples in [-1, 1]"
        if np.abs(waveform).max() > _LOUDEST:
            return "waveform is not audio in [-1, 1]; divide 16-bit samples by 32768"
        asked = parameters.get("sample_rate", rate)
        if str(asked) != str(rate):
            return f"sample_rate is {asked}, this model hears {rate} Hz; resample the audio"
        return ""

    def transcribe(self, waveforms: Sequence[NDArray[np.float32]]) -> list[Answer]:
        """An answer for each waveform [n], all of which `refusal` let pass, decoded together."""
        sequences = decode(self._engine, self._rules, self._features(waveforms))
        texts = self._vocabulary.texts([sequence.tokens for sequence in sequences])
        return [
            Answer(
                transcript=text,
                average_log_probability=sequence.average_log_probability,
                no_speech_probability=sequence.no_speech_probability,
                token_count=len(sequence.tokens),
                compression_ratio=compression_ratio(text),
                looping=is_looping(sequence.tokens),
            )
            for sequence, text in zip(sequences, texts, strict=True)
        ]
