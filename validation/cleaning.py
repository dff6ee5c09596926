"""How much noise a cleaned recording still holds, measured against the one without noise.

The numbers join the answer's signals as it comes, so that a gate judges values and reads no audio.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from validation.enhancement import improvement
from validation.scoring import IMPROVEMENT, NOISE_AFTER, NOISE_BEFORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from validation.answers import Answer
    from validation.dataset import Dataset, Utterance


def measured(dataset: Dataset, utterance: Utterance, answer: Answer) -> Answer:
    """The answer with its noise before and after, as shares of the clean recording's energy.

    And the improvement of SI-SDR in dB. A failed answer has only the noise before; one of another
    length than the recording has failed.
    """
    clean, noisy = dataset.clean(utterance), dataset.question(utterance)
    before = {NOISE_BEFORE: _noise(clean, noisy)}
    if answer.failed:
        return replace(answer, signals=before)
    cleaned = answer.waveform
    if cleaned.shape != clean.shape:
        reason = f"the answer has {cleaned.size} samples instead of {clean.size}"
        return replace(answer, signals=before, samples="", error=reason)
    found = {
        NOISE_AFTER: _noise(clean, cleaned),
        IMPROVEMENT: float(improvement(clean, noisy, cleaned)),
    }
    return replace(answer, signals={**answer.signals, **before, **found})


def _noise(clean: NDArray[np.float32], heard: NDArray[np.float32]) -> float:
    wanted = np.square(clean, dtype=np.float64).sum()
    return float(np.square(heard - clean, dtype=np.float64).sum() / max(wanted, 1e-12))
