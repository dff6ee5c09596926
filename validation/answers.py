"""What a served model answered to one item of a dataset."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_SCALE = 32768
PROBABILITY = "average_log_probability"
"""The signal that says how sure a model is: natural logarithm, mean over tokens, at most 0."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of one release to one utterance: a text, or sound in `samples`.

    `error` is the engine's message when there was no answer; all else is then empty. `signals`
    are the numbers that came with it, by tensor name. `samples` are 16-bit little-endian mono in
    base64.
    """

    id: str
    text: str
    signals: Mapping[str, float] = field(default_factory=dict)
    latency_ms: float = 0.0
    error: str = ""
    samples: str = ""

    @property
    def failed(self) -> bool:
        """Whether the engine refused or failed."""
        return bool(self.error)

    @property
    def probability(self) -> float:
        """The mean log-probability; NaN where the model gives none."""
        return self.signals.get(PROBABILITY, float("nan"))

    @property
    def waveform(self) -> NDArray[np.float32]:
        """The sound, float32 [samples] in [-1, 1); empty for a text."""
        stored = np.frombuffer(base64.b64decode(self.samples), dtype="<i2")
        return stored.astype(np.float32) / np.float32(_SCALE)


def encode_samples(waveform: NDArray[np.float32]) -> str:
    """A waveform [n] in [-1, 1) as `samples` hold it; what is louder is clipped.

    Raises ValueError when a number in it is NaN or infinite: as 16 bits it would be a sound.
    """
    if not np.isfinite(waveform).all():
        raise ValueError("the answer's sound holds NaN or infinity")
    scaled = np.clip(np.rint(waveform * _SCALE), -_SCALE, _SCALE - 1)
    return base64.b64encode(scaled.astype("<i2").tobytes()).decode()
