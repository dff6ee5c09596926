"""The release that answers in `benchmarks.promotions`: it says which one it is, and may be slow.

Runs in Triton. `behaviour.json` beside it says `extra_ms`, a wait before each batch of answers.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Answers every question with the number of its release."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read what to do."""
        self.release = args["model_version"]
        folder = Path(args["model_repository"]) / self.release
        self.wait_s = json.loads((folder / "behaviour.json").read_text())["extra_ms"] / 1000

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer for each request."""
        time.sleep(self.wait_s)
        return [self._answer() for _ in requests]

    def _answer(self) -> Any:
        outputs = {
            "transcript": np.array([[f"release {self.release}".encode()]], dtype=object),
            "segments": np.array([[b"[]"]], dtype=object),
            "average_log_probability": np.array([[-0.25]], dtype=np.float32),
            "no_speech_probability": np.array([[0.5]], dtype=np.float32),
            "token_count": np.array([[2]], dtype=np.int32),
            "compression_ratio": np.array([[1.5]], dtype=np.float32),
        }
        tensors = [pb_utils.Tensor(name, value) for name, value in outputs.items()]
        return pb_utils.InferenceResponse(tensors)
