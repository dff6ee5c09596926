"""Golden requests: sounds of the evaluation set with the answers that the gate recorded for them.

A revision gets traffic only when it answers them as it did in the gate, so they travel with the
release and are covered by its signature. Nothing here asks a server.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.errors import IntegrityError, UserError
from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from validation.answers import Answer
    from validation.dataset import SpeechDataset

TOLERANCE = 0.05
"""Default allowed difference of the average log-probability, in nats. ONNX Runtime's dynamic INT8
takes its scale from the whole batch, so one sound's number moves with its neighbours (by up to .008
for the surer half of 160 utterances, measured); every other variant answers the same alone."""
_SCALE = 32768


@dataclass(frozen=True, slots=True)
class GoldenRequest:
    """One request and its answer; `samples` is int16 [n] at the model's sample rate."""

    id: str
    samples: NDArray[np.int16]
    transcript: str
    average_log_probability: float
    tolerance: float = TOLERANCE

    @property
    def waveform(self) -> NDArray[np.float32]:
        """The samples as they are sent: float32 [n] in [-1, 1)."""
        return self.samples.astype(np.float32) / np.float32(_SCALE)

    def difference(self, answer: Answer) -> str:
        """How `answer` differs from the recorded one; empty when it does not."""
        if answer.failed:
            return f"{self.id}: {answer.error}"
        if answer.text != self.transcript:
            return f"{self.id}: answered {answer.text!r} instead of {self.transcript!r}"
        off = abs(answer.average_log_probability - self.average_log_probability)
        # A number that is not a number is never within the tolerance.
        if not off <= self.tolerance:
            return f"{self.id}: log-probability is off by {off:.3f}, allowed is {self.tolerance:g}"
        return ""


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """A release's golden requests."""

    requests: tuple[GoldenRequest, ...]

    @classmethod
    def choose(cls, dataset: SpeechDataset, answers: Sequence[Answer], count: int = 8) -> GoldenSet:
        """At most `count` utterances of `dataset`, spread over it, with the gate's answers.

        Only from the surer half: an answer on the edge may fall either way in another batch.
        Raises UserError when the gate recorded no transcript at all.
        """
        utterances = {utterance.id: utterance for utterance in dataset.utterances}
        spoken = [a for a in answers if not a.failed and a.text and a.id in utterances]
        if not spoken:
            raise UserError(
                "the gate recorded no transcript to check a release by", where=dataset.name
            )
        surest = sorted(spoken, key=lambda answer: (-answer.average_log_probability, answer.id))
        half = sorted(surest[: max(count, len(surest) // 2)], key=lambda answer: answer.id)
        picks = np.linspace(0, len(half) - 1, min(count, len(half))).round().astype(int)
        return cls(
            tuple(
                GoldenRequest(
                    answer.id,
                    _to_samples(dataset.waveform(utterances[answer.id])),
                    answer.text,
                    answer.average_log_probability,
                )
                for answer in (half[pick] for pick in picks)
            )
        )

    @classmethod
    def load(cls, path: Path) -> GoldenSet:
        """Read what `to_json` wrote. Raises IntegrityError when it is something else."""
        try:
            rows = json.loads(path.read_bytes())["requests"]
            return cls(tuple(_from_row(row) for row in rows))
        except (OSError, ValueError, KeyError, TypeError, binascii.Error) as error:
            raise IntegrityError("holds no golden requests", where=str(path)) from error

    def to_json(self) -> bytes:
        """Canonical JSON; samples are little-endian 16-bit in base64."""
        return canonical_json({"requests": [_to_row(request) for request in self.requests]})

    def differences(self, answers: Sequence[Answer]) -> tuple[str, ...]:
        """One reason for each request that was not answered as recorded."""
        found = {answer.id: answer for answer in answers}
        reasons = (
            request.difference(found[request.id])
            if request.id in found
            else f"{request.id}: was not answered"
            for request in self.requests
        )
        return tuple(reason for reason in reasons if reason)


def _to_samples(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    scaled = np.rint(waveform * _SCALE)
    return np.clip(scaled, -_SCALE, _SCALE - 1).astype(np.int16)


def _to_row(request: GoldenRequest) -> dict[str, Any]:
    return {
        "id": request.id,
        "waveform": base64.b64encode(request.samples.astype("<i2").tobytes()).decode(),
        "transcript": request.transcript,
        "average_log_probability": request.average_log_probability,
        "tolerance": request.tolerance,
    }


def _from_row(row: dict[str, Any]) -> GoldenRequest:
    samples = np.frombuffer(base64.b64decode(row["waveform"], validate=True), dtype="<i2")
    return GoldenRequest(
        str(row["id"]),
        samples.astype(np.int16),
        str(row["transcript"]),
        float(row["average_log_probability"]),
        float(row["tolerance"]),
    )
