"""A model for tests of serving: answers as told by the numbers in its input.

The waveform is a list of instructions: [milliseconds to sleep, outcome]; outcome 1 is refused as
bad input, 2 fails inside, 3 ends the process, 4 is answered with nothing, by the fallback. Anything
else is answered with the release's name, then the caller's session, then the request's parameter
`note`, then, where `behaviour.json` wants it, the number of answers so far. Where it says
`recorded`, answers go into the prediction log; the programs' shared part must stand beside then.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self.release = args["model_version"]
        folder = Path(args["model_repository"]) / args["model_version"]
        behaviour = json.loads((folder / "behaviour.json").read_text())
        time.sleep(behaviour.get("load_s", 0))
        if "refuse" in behaviour:
            raise RuntimeError(behaviour["refuse"])
        self.extra_ms = behaviour.get("extra_ms", 0)
        self.transcript = behaviour.get("transcript", f"release {self.release}")
        self.numbered = behaviour.get("numbered", False)
        self.answers = 0
        self.diary = Path(behaviour["diary"]) if "diary" in behaviour else None
        self.log: Any = None
        if behaviour.get("recorded") and "SLUICE_PREDICTION_LOG" in os.environ:
            from serving.common.prediction_log import PredictionLog

            root, name = Path(os.environ["SLUICE_PREDICTION_LOG"]), args["model_name"]
            self.log = PredictionLog(root, name, int(self.release), "toy", flush_s=0.2)

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        values = pb_utils.get_input_tensor_by_name(request, "waveform").as_numpy().reshape(-1)
        sleep_ms, outcome = float(values[0]), int(values[1]) if len(values) > 1 else 0
        time.sleep((sleep_ms + self.extra_ms) / 1000)
        if outcome == 1:
            return self._error("the waveform is refused", pb_utils.TritonError.INVALID_ARG)
        if outcome == 2:
            return self._error("the engine failed", pb_utils.TritonError.INTERNAL)
        if outcome == 3:
            os._exit(1)
        parameters = json.loads(request.parameters() or "{}")
        if self.diary:
            with self.diary.open("a") as diary:
                diary.write(json.dumps([self.release, parameters]) + "\n")
        self.answers += 1
        words = [self.transcript, parameters.get("x-session-id"), parameters.get("note")]
        words += [f"answer {self.answers}"] if self.numbered else []
        text = " ".join(word for word in words if word and outcome != 4)
        if self.log and parameters:  # A warm-up has none.
            self._record(text, parameters, fallback=outcome == 4)
        outputs = {
            "transcript": np.array([[text.encode()]], dtype=object),
            "segments": np.array([[b"[]"]], dtype=object),
            "average_log_probability": np.array([[-0.25]], dtype=np.float32),
            "no_speech_probability": np.array([[0.5]], dtype=np.float32),
            "token_count": np.array([[len(values)]], dtype=np.int32),
            "compression_ratio": np.array([[1.5]], dtype=np.float32),
        }
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, value) for name, value in outputs.items()]
        )

    def finalize(self) -> None:
        if self.log:
            self.log.close()

    def _record(self, text: str, parameters: dict[str, Any], *, fallback: bool) -> None:
        from serving.common.quality import describe_text
        from serving.common.records import is_probe, record

        if not is_probe(parameters):
            answer = describe_text(text, (), -0.25, fallback=fallback)
            costs = {"at": time.time(), "latency_ms": 0.1}
            self.log.append(record({}, answer, parameters, release=int(self.release), **costs))

    @staticmethod
    def _error(message: str, code: Any) -> Any:
        return pb_utils.InferenceResponse([], error=pb_utils.TritonError(message, code))
