"""A decoupled model for tests of streams: answers in pieces, at the pace that its input tells.

The waveform is [pieces, milliseconds between them].
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self.release = args["model_version"]

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            self._answer(request)

    def _answer(self, request: Any) -> None:
        waveform = pb_utils.get_input_tensor_by_name(request, "waveform").as_numpy().reshape(-1)
        sender = request.get_response_sender()
        for number in range(int(waveform[0])):
            text = f"release {self.release} piece {number}".encode()
            tensor = pb_utils.Tensor("transcript", np.array([text], dtype=object))
            sender.send(pb_utils.InferenceResponse([tensor]))
            time.sleep(float(waveform[1]) / 1000)
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
