"""A model for tests of releases with a network: answers what its network says of the waveform."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self.model, self.release = args["model_name"], args["model_version"]
        self.calls = 0

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        self.calls += 1
        waveform = pb_utils.get_input_tensor_by_name(request, "waveform").as_numpy()
        response = pb_utils.InferenceRequest(
            model_name=f"{self.model}.network",
            model_version=int(self.release),
            requested_output_names=["s"],
            inputs=[pb_utils.Tensor("x", waveform)],
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),
        ).exec()
        if response.has_error():
            return pb_utils.InferenceResponse(error=response.error())
        total = pb_utils.get_output_tensor_by_name(response, "s").as_numpy()
        text = f"release {self.release} sum {total.sum():.3f}"
        outputs = {
            "transcript": np.array([[text.encode()]], dtype=object),
            "average_log_probability": np.array([[-0.25]], dtype=np.float32),
            "no_speech_probability": np.array([[0.5]], dtype=np.float32),
            "token_count": np.array([[self.calls]], dtype=np.int32),
            "compression_ratio": np.array([[1.5]], dtype=np.float32),
        }
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, value) for name, value in outputs.items()]
        )
