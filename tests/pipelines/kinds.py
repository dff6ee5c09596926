"""The example model of each kind, its sets, and how a plain client asks it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.conversion.kinds import kind_of
from validation.answers import Answer, encode_samples
from validation.dataset import Dataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"


@dataclass(frozen=True)
class Example:
    """One kind's example. `best` is the metric's largest value that it was seen to have.

    Its variant becomes a release; the way back is the same for every kind, and Whisper's to walk.
    """

    kind: str
    model: str
    evaluation: str
    calibration: str
    variant: str
    metric: str
    best: float

    @property
    def source(self) -> Path:
        return GRID / "models" / self.model

    def dataset(self) -> Dataset:
        return Dataset.load(GRID / "data" / self.evaluation)

    def ask(self, address: str, question: NDArray[Any], protocol: str) -> tuple[Answer, int]:
        """The answer of a plain client, and the release that gave it."""
        from tritonclient import grpc, http

        module: Any = {"http": http, "grpc": grpc}[protocol]
        interface = kind_of(self.kind).interface
        batch = question[None]
        type_name = "BYTES" if batch.dtype == np.object_ else "FP32"
        tensor = module.InferInput(interface.question.name, list(batch.shape), type_name)
        tensor.set_data_from_numpy(batch)
        with module.InferenceServerClient(address) as client:
            result = client.infer(self.model, [tensor])
        raw = result.get_response()
        release = raw["model_version"] if protocol == "http" else raw.model_version
        values = result.as_numpy(interface.answer.name).reshape(-1)
        if interface.answer.data_type == "TYPE_STRING":
            text = values[0].decode() if isinstance(values[0], bytes) else str(values[0])
            return Answer("", text), int(release)
        return Answer("", "", samples=encode_samples(values)), int(release)


EXAMPLES = {
    example.kind: example
    for example in (
        Example(
            "ctc-speech",
            "ctc-grid",
            "evaluation",
            "calibration",
            # One scale for a batch makes answers of onnx-int8 depend on who shares it.
            "openvino-int8",
            "wer",
            0.05,
        ),
        Example(
            "lip-reading",
            "lips-grid",
            "lips-evaluation",
            "lips-calibration",
            "openvino-fp16",
            "wer",
            0.3,
        ),
        Example(
            "voice-cleaning",
            "cleaner-grid",
            "cleaning-evaluation",
            "cleaning-calibration",
            "openvino-fp16",
            "noise_left",
            0.6,
        ),
        Example(
            "translation",
            "translation-grid",
            "text-evaluation",
            "text-calibration",
            "openvino-int8",
            "wer",
            0.05,
        ),
        Example(
            "llm",
            "llm-grid",
            "text-evaluation",
            "text-calibration",
            "openvino-int8",
            "wer",
            0.05,
        ),
    )
}
"""Every kind but Whisper, whose path the other tests of this folder walk."""
