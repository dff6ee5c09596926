"""Triton's entry: requests of one execute() become one batch of the kind's answerer.

Thin on purpose: what is computed is the answerer's. A request that cannot be answered gets an
error of its own; the others are not held up.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .answers import Answerer, Outcome, Settings
from .devices import Devices
from .network import connect
from .records import LOG_TEXT, REDACTED, is_probe, record, texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPTION = "option."
"""Starts the names of the configuration's parameters that are the kind's own."""


class Program:
    """One instance of one release; a kind names its `answerer`."""

    answerer: type[Answerer]

    def initialize(self, args: dict[str, str]) -> None:
        """Load the variant beside the entry; a failure keeps the release from being ready."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        folder = Path(sys.modules[type(self).__module__].__file__ or "").resolve().parent
        self._question = config["input"][0]["name"]
        self._outputs = {
            output["name"]: pb_utils.triton_string_to_numpy(output["data_type"])
            for output in config["output"]
        }
        release = self._release = int(args["model_version"])
        self._answerer = self.answerer(
            folder / "variant",
            Settings(
                threads=int(parameters["threads"]),
                device=parameters["device"],
                network=connect(folder / "variant", args["model_name"], release),
                options={
                    key.removeprefix(_OPTION): value
                    for key, value in parameters.items()
                    if key.startswith(_OPTION)
                },
            ),
        )
        self._devices = Devices(args["model_name"], release)
        self._devices.tell(getattr(self._answerer, "execution_devices", ()))
        self._warm_ups = _warm_up_requests(config)
        self._log: Any = None
        if root := os.environ.get("SLUICE_PREDICTION_LOG"):
            from .prediction_log import PredictionLog

            self._log = PredictionLog(
                Path(root),
                args["model_name"],
                release,
                parameters["variant"],
                keeps_text=parameters.get(_OPTION + LOG_TEXT) == REDACTED,
            )

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request, in order. A request may itself hold several rows."""
        started = time.perf_counter()
        calls = [_Call(request, self._question) for request in requests]
        for call in calls:
            call.check(self._answerer)
        sound = [call for call in calls if not call.refused]
        try:
            self._answer(sound)
        except Exception as error:  # noqa: BLE001 - every request of the batch must be answered
            pb_utils.Logger.log_error(f"the engine failed: {type(error).__name__}: {error}")
            for call in sound:
                call.refused = f"the engine failed: {type(error).__name__}"
                call.code = pb_utils.TritonError.INTERNAL
        self._record(calls, (time.perf_counter() - started) * 1000)
        return [call.response(self._outputs) for call in calls]

    def finalize(self) -> None:
        """Write what the prediction log still holds, and give the gauges back."""
        self._devices.forget()
        if self._log:
            self._log.close()

    def _answer(self, calls: list[_Call]) -> None:
        rows = [row for call in calls for row in call.rows]
        if not rows:
            return
        parameters = [call.parameters for call in calls for _ in call.rows]
        outcomes = iter(self._answerer.answer(rows, parameters))
        for call in calls:
            call.outcomes = [next(outcomes) for _ in call.rows]

    def _record(self, calls: list[_Call], latency_ms: float) -> None:
        # Warm-up requests come before any other and look like any other.
        skipped = min(self._warm_ups, len(calls))
        self._warm_ups -= skipped
        if not self._log:
            return
        at = time.time()
        for call in calls[skipped:]:
            if is_probe(call.parameters):
                continue
            for row, outcome in call.rows_and_outcomes():
                fields = record(
                    self._answerer.describe(row),
                    outcome if isinstance(outcome, str) else outcome.record,
                    call.parameters,
                    release=self._release,
                    at=at,
                    latency_ms=latency_ms,
                )
                if self._log.keeps_text:
                    fields |= texts_of(row, {} if isinstance(outcome, str) else outcome.outputs)
                self._log.append(fields)


class _Call:
    """One request on its way: rows in; outcomes, or why it was refused."""

    def __init__(self, request: Any, question: str) -> None:
        self.rows = list(pb_utils.get_input_tensor_by_name(request, question).as_numpy())
        self.parameters: dict[str, Any] = json.loads(request.parameters() or "{}")
        self.outcomes: list[Outcome] = []
        self.refused = ""
        self.code = pb_utils.TritonError.INVALID_ARG

    def check(self, answerer: Answerer) -> None:
        """Note why the request must be refused, if it must."""
        reasons = (answerer.refusal(row, self.parameters) for row in self.rows)
        self.refused = next((reason for reason in reasons if reason), "")

    def rows_and_outcomes(self) -> list[tuple[Any, Outcome | str]]:
        """Each row with its outcome, or with the reason that it has none."""
        if self.refused:
            return [(row, self.refused) for row in self.rows]
        return list(zip(self.rows, self.outcomes, strict=True))

    def response(self, outputs: Mapping[str, Any]) -> Any:
        """What Triton sends back; `outputs` are the configured names and dtypes."""
        if self.refused:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(self.refused, self.code))
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(name, _column([one.outputs[name] for one in self.outcomes], dtype))
                for name, dtype in outputs.items()
            ]
        )


def _column(values: list[Any], dtype: Any) -> Any:
    """Values of one output as [rows, 1], or [rows, n] when each is an array."""
    if dtype is np.object_:
        values = [value.encode() for value in values]
    return np.array(values, dtype=dtype).reshape(len(values), -1)


def _warm_up_requests(config: dict[str, Any]) -> int:
    """How many warm-up requests each instance gets: `count` times `batch_size` of each sample."""
    return sum(
        max(1, int(sample.get("count", 1))) * max(1, int(sample.get("batch_size", 1)))
        for sample in config.get("model_warmup", [])
    )
