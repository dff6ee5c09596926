"""A variant that answers: noisy waveforms in, cleaned ones with their levels out.

The network is another Triton model's; all questions of a call are one batch of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..common import audio
from ..common.answers import Outcome
from .representations import load_representation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ..common.answers import Settings

    Waveform = NDArray[np.float32]

_FLOOR = 1e-10  # power of what counts as silence: -100 dB
_MUTED_DB = 60.0


class Cleaner:
    """See Answerer."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        if settings.network is None:
            raise ValueError(f"{folder}: a cleaner's network runs beside it, and none was given")
        self._network = settings.network
        self._representation = load_representation(folder)

    def refusal(self, question: Waveform, parameters: Mapping[str, Any]) -> str:
        """See Answerer."""
        how = self._representation
        return audio.refusal(question, parameters, rate=how.sample_rate, longest=how.window_samples)

    def answer(
        self, questions: Sequence[Waveform], parameters: Sequence[Mapping[str, Any]]
    ) -> list[Outcome]:
        """See Answerer; `cleaned` is float32 of the question's length, in its scale."""
        del parameters  # none of them changes an answer
        cleaned = self._representation.clean(self._network, questions)
        return [
            _outcome(question, sound) for question, sound in zip(questions, cleaned, strict=True)
        ]

    def describe(self, question: Waveform) -> Mapping[str, Any]:
        """See Answerer."""
        return audio.describe(question, self._representation.sample_rate)


def _outcome(question: Waveform, cleaned: Waveform) -> Outcome:
    heard, left = _power(question), _power(cleaned)
    attenuation = float(10 * np.log10(max(heard, _FLOOR) / max(left, _FLOOR)))
    levels = {"output_rms": float(np.sqrt(left)), "attenuation_db": attenuation}
    return Outcome(
        outputs={"cleaned": cleaned, "input_rms": float(np.sqrt(heard)), **levels},
        # A sound of which nothing is left is what an empty transcript is to a recogniser.
        record={**levels, "empty": attenuation >= _MUTED_DB},
    )


def _power(waveform: Waveform) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64)))
