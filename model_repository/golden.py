"""Golden requests: questions of the evaluation set with the answers that the gate recorded.

A revision gets traffic only when it answers them as it did in the gate, so they travel with the
release and are covered by its signature. Nothing here asks a server.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import zlib
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
    from validation.dataset import Dataset

TOLERANCE = 0.05
"""Default allowed difference of the average log-probability, in nats. ONNX Runtime's dynamic INT8
takes its scale from the whole batch, so one sound's number moves with its neighbours (by up to .008
for the surer half of 160 utterances, measured); every other variant answers the same alone."""
SOUND_TOLERANCE = 0.01
"""Allowed root mean square of the difference of two sounds, over that of the recorded one."""
_MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class GoldenRequest:
    """One request and its answer; `question` is what is sent, without the batch.

    float32 of sound or video, or object [1] of a text's UTF-8 bytes. The answer is `text`, or
    `samples` as `validation.answers.Answer` has them. `probability` is the answer's average
    log-probability, None where the model gives none.
    """

    id: str
    question: NDArray[Any]
    text: str
    probability: float | None = None
    samples: str = ""
    tolerance: float = TOLERANCE

    def difference(self, answer: Answer) -> str:
        """How `answer` differs from the recorded one; empty when it does not."""
        if answer.failed:
            return f"{self.id}: {answer.error}"
        if answer.text != self.text:
            return f"{self.id}: answered {answer.text!r} instead of {self.text!r}"
        if self.samples:
            return self._sound_difference(answer)
        if self.probability is None:
            return ""
        off = abs(answer.probability - self.probability)
        # A number that is not a number is never within the tolerance.
        if not off <= self.tolerance:
            return f"{self.id}: log-probability is off by {off:.3f}, allowed is {self.tolerance:g}"
        return ""

    def _sound_difference(self, answer: Answer) -> str:
        expected, found = _waveform(self.samples), answer.waveform
        if expected.shape != found.shape:
            return f"{self.id}: answered {found.size} samples instead of {expected.size}"
        off = _rms(found - expected) / max(_rms(expected), 1e-9)
        if not off <= SOUND_TOLERANCE:
            return f"{self.id}: the sound is off by {off:.2%}, allowed is {SOUND_TOLERANCE:.2%}"
        return ""


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """A release's golden requests."""

    requests: tuple[GoldenRequest, ...]

    @classmethod
    def choose(cls, dataset: Dataset, answers: Sequence[Answer], count: int = 8) -> GoldenSet:
        """At most `count` utterances of `dataset`, spread over it, with the gate's answers.

        Only from the surer half: an answer on the edge may fall either way in another batch.
        Raises UserError when the gate recorded no answer at all.
        """
        utterances = {utterance.id: utterance for utterance in dataset.utterances}
        given = [
            answer
            for answer in answers
            if not answer.failed and (answer.text or answer.samples) and answer.id in utterances
        ]
        if not given:
            raise UserError("the gate recorded no answer to check a release by", where=dataset.name)
        surest = sorted(given, key=lambda answer: (-_sureness(answer), answer.id))
        half = sorted(surest[: max(count, len(surest) // 2)], key=lambda answer: answer.id)
        picks = np.linspace(0, len(half) - 1, min(count, len(half))).round().astype(int)
        return cls(
            tuple(
                GoldenRequest(
                    answer.id,
                    dataset.question(utterances[answer.id]),
                    answer.text,
                    None if np.isnan(answer.probability) else answer.probability,
                    answer.samples,
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
        except (
            OSError,
            EOFError,
            ValueError,
            KeyError,
            TypeError,
            binascii.Error,
            zlib.error,
        ) as error:
            raise IntegrityError("holds no golden requests", where=str(path)) from error

    def to_json(self) -> bytes:
        """Canonical JSON; a sound or video is a compressed NumPy file in base64."""
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


def _sureness(answer: Answer) -> float:
    return 0.0 if np.isnan(answer.probability) else answer.probability


def _rms(waveform: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(waveform, dtype=np.float64).mean()))


def _waveform(samples: str) -> NDArray[np.float32]:
    from validation.answers import Answer

    return Answer("", "", samples=samples).waveform


def _to_row(request: GoldenRequest) -> dict[str, Any]:
    return {
        "id": request.id,
        "question": _encode(request.question),
        "text": request.text,
        "probability": request.probability,
        "samples": request.samples,
        "tolerance": request.tolerance,
    }


def _from_row(row: dict[str, Any]) -> GoldenRequest:
    return GoldenRequest(
        str(row["id"]),
        _decode(row["question"]),
        str(row["text"]),
        None if row["probability"] is None else float(row["probability"]),
        str(row["samples"]),
        float(row["tolerance"]),
    )


def _encode(question: NDArray[Any]) -> dict[str, str]:
    if question.dtype == np.object_:
        return {"text": question[0].decode()}
    file = io.BytesIO()
    np.save(file, question, allow_pickle=False)
    return {"array": base64.b64encode(zlib.compress(file.getvalue(), 6)).decode()}


def _decode(stored: dict[str, str]) -> NDArray[Any]:
    if "text" in stored:
        return np.array([stored["text"].encode()], dtype=np.object_)
    packed = base64.b64decode(stored["array"], validate=True)
    content = zlib.decompressobj().decompress(packed, _MOST_BYTES)
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
