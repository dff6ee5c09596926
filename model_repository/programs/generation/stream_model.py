"""Triton's entry of MODEL.stream: holds the engine; its own requests are answered piece by piece.

Thin on purpose: what is computed, when, and what of it is shown, is `service`'s.
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
from serving.common.devices import Devices
from serving.generation import wire
from serving.generation.courier import Answer, Channel
from serving.generation.outputs import outputs
from serving.generation.reception import Reception
from serving.generation.scheduler import Bounds
from serving.generation.service import Service

_DRAIN_S = 5.0  # of the ten seconds that a server which shuts down waits for its models
_METRICS_S = 0.25


class TritonPythonModel:
    """The one instance of one release: another could not listen where this one does."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the variant beside this file; a failure here keeps the release from being ready."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        model, release = args["model_name"].removesuffix(wire.SUFFIX), args["model_version"]
        self._outputs = {
            output["name"]: pb_utils.triton_string_to_numpy(output["data_type"])
            for output in config["output"]
        }
        self._answer = parameters["answer"]
        self._log = _prediction_log(model, release, parameters)
        self._metrics: _Metrics | None = None
        self._service = Service(
            Path(__file__).resolve().parent / "variant",
            release=int(release),
            threads=int(parameters["threads"]),
            device=parameters["device"],
            bounds=Bounds(
                int(parameters.get("option.max_live", Bounds.max_live)),
                int(parameters.get("option.max_waiting", Bounds.max_waiting)),
            ),
            log=self._log and self._log.append,
            keeps_text=bool(self._log and self._log.keeps_text),
            report=_report,
            each_turn=self._tell,
        )
        self._devices: Devices | None = Devices(model, int(release))
        self._devices.tell(self._service.execution_devices)
        self._reception = Reception(wire.address(model, release), self._answer, self._service.take)
        # Last: from here on it is another thread that touches metrics.
        self._metrics = _Metrics({"model": model, "version": release})

    def execute(self, requests: list[Any]) -> None:
        """Take requests in. Their answers come from the courier's thread."""
        for request in requests:
            call = _Call(request.get_response_sender(), self._answer, self._outputs)
            texts = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
            if len(texts) == 1:
                parameters = json.loads(request.parameters() or "{}")
                self._service.take(bytes(texts[0][0]), parameters, call)
            else:
                reason = f"the request holds {len(texts)} texts; stream one text a request"
                call.fail("INVALID_ARG", reason)

    def finalize(self) -> None:
        """Answer what is under way, write what the prediction log still holds."""
        self._reception.close()
        self._service.close(_DRAIN_S)
        # The interpreter's own end is too late for what Triton holds of these.
        self._metrics = self._devices = None
        if self._log:
            self._log.close()

    def _tell(self, scheduler: Any) -> None:
        if self._metrics is not None:
            self._metrics.update(scheduler)


class _Call(Channel):  # type: ignore[misc]  # typed where the release is put together
    """The way back to one client of the stream."""

    streamed = True

    def __init__(self, sender: Any, answer: str, dtypes: dict[str, Any]) -> None:
        self._sender, self._answer, self._dtypes = sender, answer, dtypes

    def send(self, answer: Answer) -> None:
        """See Channel."""
        values = outputs(self._answer, answer)
        values |= {"delta": answer.delta, "finished": answer.finished}
        tensors = [
            pb_utils.Tensor(name, _single(values[name], dtype))
            for name, dtype in self._dtypes.items()
        ]
        final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if answer.finished else 0
        self._sender.send(pb_utils.InferenceResponse(tensors), flags=final)

    def fail(self, code: str, reason: str) -> None:
        """See Channel."""
        error = pb_utils.TritonError(reason, getattr(pb_utils.TritonError, code))
        final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        self._sender.send(pb_utils.InferenceResponse(error=error), flags=final)

    def is_cancelled(self) -> bool:
        """See Channel."""
        return bool(self._sender.is_cancelled())


class _Metrics:
    """What Prometheus is told about a scheduler, by one thread.

    Triton's server dies when two threads of a program touch its metrics at once, and the program
    when it still holds some at the interpreter's end.
    """

    def __init__(self, labels: dict[str, str]) -> None:
        family = pb_utils.MetricFamily
        # A family must outlive its metrics.
        self._families = {
            name: family(
                name=f"sluice_generation_{name}",
                description=description,
                kind=family.GAUGE if name in _GAUGES else family.COUNTER,
            )
            for name, description in (_GAUGES | _COUNTERS).items()
        }
        self._metrics = {name: one.Metric(labels=labels) for name, one in self._families.items()}
        self._told = dict.fromkeys(self._metrics, 0)
        self._next = 0.0

    def update(self, scheduler: Any) -> None:
        """Tell what changed, four times a second at most."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _METRICS_S
        for name, metric in self._metrics.items():
            source = scheduler if name in _GAUGES else scheduler.counts
            value = getattr(source, name.removesuffix("_total"))
            if value != self._told[name]:
                metric.increment(value - self._told[name])
                self._told[name] = value


_GAUGES = {
    "live": "Requests that are being computed",
    "waiting": "Requests that wait for room",
}
_COUNTERS = {
    "steps_total": "Calls of the engine",
    "tokens_total": "Tokens computed, those that end an answer included",
    "answered_total": "Requests that got their whole answer",
    "cancelled_total": "Requests whose client wanted no more",
    "failed_total": "Requests for which the engine failed",
    "refused_total": "Requests for which there was no room",
}


def _single(value: Any, dtype: Any) -> Any:
    return np.array([[value.encode() if dtype is np.object_ else value]], dtype=dtype)


def _report(error: Exception) -> None:
    pb_utils.Logger.log_error(f"the engine failed: {type(error).__name__}: {error}")


def _prediction_log(model: str, release: str, parameters: dict[str, str]) -> Any:
    root = os.environ.get("SLUICE_PREDICTION_LOG")
    if not root:
        return None
    from serving.common.prediction_log import PredictionLog
    from serving.common.records import LOG_TEXT, REDACTED

    keeps_text = parameters.get(f"option.{LOG_TEXT}") == REDACTED
    variant = parameters["variant"]
    return PredictionLog(Path(root), model, int(release), variant, keeps_text=keeps_text)
