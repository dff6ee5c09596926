"""Triton's entry: requests of one execute() become one batch of the transcriber.

Thin on purpose: what is computed is in the `serving` package that publishing puts beside this
file. A request that cannot be answered gets an error of its own; the others are not held up.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

# `serving` exists where publishing has put it, beside the release's copy of this file.
from serving.records import PROBE, record
from serving.transcriber import Answer, Transcriber


class TritonPythonModel:
    """One instance of one release."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the variant beside this file; a failure here keeps the release from being ready."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        folder = Path(__file__).resolve().parent / "variant"
        self._transcriber = Transcriber(folder, int(parameters["threads"]))
        self._warm_ups = _warm_up_requests(config)
        self._log: Any = None
        if root := os.environ.get("SLUICE_PREDICTION_LOG"):
            from serving.prediction_log import PredictionLog

            release, variant = int(args["model_version"]), parameters["variant"]
            self._log = PredictionLog(Path(root), args["model_name"], release, variant)

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request, in order. A request may itself hold several rows."""
        started = time.perf_counter()
        calls = [_Call(request) for request in requests]
        for call in calls:
            call.check(self._transcriber)
        sound = [call for call in calls if not call.refused]
        rows = [row for call in sound for row in call.rows]
        try:
            answers = iter(self._transcriber.transcribe(rows) if rows else [])
            for call in sound:
                call.answers = [next(answers) for _ in call.rows]
        except Exception as error:  # noqa: BLE001 - every request of the batch must be answered
            pb_utils.Logger.log_error(f"the engine failed: {type(error).__name__}: {error}")
            for call in sound:
                call.refused = f"the engine failed: {type(error).__name__}"
                call.code = pb_utils.TritonError.INTERNAL
        self._record(calls, (time.perf_counter() - started) * 1000)
        return [call.response() for call in calls]

    def finalize(self) -> None:
        """Write what the prediction log still holds."""
        if self._log:
            self._log.close()

    def _record(self, calls: list[_Call], latency_ms: float) -> None:
        # Warm-up requests come before any other and look like any other.
        skipped = min(self._warm_ups, len(calls))
        self._warm_ups -= skipped
        if not self._log:
            return
        at, rate = time.time(), self._transcriber.sample_rate
        for call in calls[skipped:]:
            for row, answer in call.outcomes():
                if PROBE not in call.parameters:
                    self._log.append(
                        record(
                            row,
                            answer,
                            call.parameters,
                            sample_rate=rate,
                            at=at,
                            latency_ms=latency_ms,
                        )
                    )


class _Call:
    """One request on its way: rows in; answers, or why it was refused."""

    def __init__(self, request: Any) -> None:
        self.rows = list(pb_utils.get_input_tensor_by_name(request, "waveform").as_numpy())
        self.parameters: dict[str, Any] = json.loads(request.parameters() or "{}")
        self.answers: list[Answer] = []
        self.refused = ""
        self.code = pb_utils.TritonError.INVALID_ARG

    def check(self, transcriber: Transcriber) -> None:
        """Note why the request must be refused, if it must."""
        reasons = (transcriber.refusal(row, self.parameters) for row in self.rows)
        self.refused = next((reason for reason in reasons if reason), "")

    def outcomes(self) -> list[tuple[Any, Answer | str]]:
        """Each row with its answer, or with the reason that it has none."""
        if self.refused:
            return [(row, self.refused) for row in self.rows]
        return list(zip(self.rows, self.answers, strict=True))

    def response(self) -> Any:
        """What Triton sends back."""
        if self.refused:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(self.refused, self.code))
        answers = self.answers
        return pb_utils.InferenceResponse(
            [
                _tensor("transcript", [a.transcript.encode() for a in answers], np.object_),
                _tensor(
                    "average_log_probability",
                    [a.average_log_probability for a in answers],
                    np.float32,
                ),
                _tensor(
                    "no_speech_probability", [a.no_speech_probability for a in answers], np.float32
                ),
                _tensor("token_count", [a.token_count for a in answers], np.int32),
                _tensor("compression_ratio", [a.compression_ratio for a in answers], np.float32),
            ]
        )


def _tensor(name: str, values: list[Any], dtype: Any) -> Any:
    return pb_utils.Tensor(name, np.array(values, dtype=dtype).reshape(-1, 1))


def _warm_up_requests(config: dict[str, Any]) -> int:
    """How many warm-up requests each instance gets: `count` times `batch_size` of each sample."""
    return sum(
        max(1, int(sample.get("count", 1))) * max(1, int(sample.get("batch_size", 1)))
        for sample in config.get("model_warmup", [])
    )
