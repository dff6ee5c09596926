"""What a served model answered to one item of a dataset."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of one release to one utterance.

    `error` is the engine's message when there was no answer; `text` is then empty and the
    numbers are NaN or 0. Log-probability is the mean over tokens, natural logarithm, at most 0.
    """

    id: str
    text: str
    average_log_probability: float
    no_speech_probability: float
    token_count: int
    compression_ratio: float
    latency_ms: float
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether the engine refused or failed."""
        return bool(self.error)
