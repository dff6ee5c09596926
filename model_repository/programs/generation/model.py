"""Triton's entry of MODEL: whole answers, asked of the engine that MODEL.stream holds.

An execution does not wait for its answers, so a long one never keeps the next batch out. Each row
of a request is a question of its own; one that fails fails its own request only.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb_utils

# `serving` exists where publishing has put it, beside the release's copy of this file.
from serving.generation import wire
from serving.generation.caller import Caller, Inquiry

if TYPE_CHECKING:
    from collections.abc import Mapping

_DRAIN_S = 5.0  # of the ten seconds that a server which shuts down waits for its models


class TritonPythonModel:
    """One instance of one release."""

    def initialize(self, args: dict[str, str]) -> None:
        """Nothing is loaded here; MODEL.stream may still be loading."""
        config = json.loads(args["model_config"])
        self._outputs = {
            output["name"]: pb_utils.triton_string_to_numpy(output["data_type"])
            for output in config["output"]
        }
        address = wire.address(args["model_name"], args["model_version"])
        self._caller = Caller(address, _report)

    def execute(self, requests: list[Any]) -> None:
        """Pass requests on. Triton takes the answers from their senders, whenever they come."""
        for request in requests:
            texts = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
            parameters = json.loads(request.parameters() or "{}")
            call = _Call(request, len(texts), self._outputs)
            if not len(texts):
                call.refuse("INVALID_ARG", "the request holds no text; send at least one")
            for row, (text,) in enumerate(texts):
                self._caller.ask(bytes(text), parameters, _Row(call, row))

    def finalize(self) -> None:
        """Wait for the answers that are still to come."""
        self._caller.close(_DRAIN_S)


class _Call:
    """One request on its way: for each row the outputs by name, or why there are none."""

    def __init__(self, request: Any, rows: int, outputs: Mapping[str, Any]) -> None:
        # Kept to the end: Triton's memory of a request goes with it, answered or not.
        self._request, self._sender = request, request.get_response_sender()
        # Triton's server dies when a sender that has sent its last response is asked anything.
        self._sending = threading.Lock()
        self._is_over = False
        self._outputs = outputs
        self._answers: list[Mapping[str, Any]] = [{}] * rows
        self._left = rows
        self._refusal: tuple[str, str] | None = None

    def is_cancelled(self) -> bool:
        """Whether the client has gone before there was an answer."""
        with self._sending:
            return not self._is_over and bool(self._sender.is_cancelled())

    def settle(self, row: int, answer: Mapping[str, Any] | tuple[str, str]) -> None:
        """Take a row's outputs, or its code and reason; respond with the last one."""
        if isinstance(answer, tuple):
            self._refusal = self._refusal or answer
        else:
            self._answers[row] = answer
        self._left -= 1
        if self._left:
            return
        if self._refusal:
            self.refuse(*self._refusal)
            return
        columns = {name: [one[name] for one in self._answers] for name in self._outputs}
        tensors = [
            pb_utils.Tensor(name, _column(columns[name], dtype))
            for name, dtype in self._outputs.items()
        ]
        self._send(pb_utils.InferenceResponse(tensors))

    def refuse(self, code: str, reason: str) -> None:
        """Respond with an error; `code` is the name of one of Triton's."""
        error = pb_utils.TritonError(reason, getattr(pb_utils.TritonError, code))
        self._send(pb_utils.InferenceResponse(error=error))

    def _send(self, response: Any) -> None:
        with self._sending:
            self._is_over = True
            self._sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


class _Row(Inquiry):  # type: ignore[misc]  # typed where the release is put together
    """One row of a request."""

    def __init__(self, call: _Call, row: int) -> None:
        self._call, self._row = call, row

    def answered(self, outputs: Mapping[str, Any]) -> None:
        """See Inquiry."""
        self._call.settle(self._row, outputs)

    def refused(self, code: str, reason: str) -> None:
        """See Inquiry."""
        self._call.settle(self._row, (code, reason))

    def is_cancelled(self) -> bool:
        """See Inquiry."""
        return self._call.is_cancelled()


def _report(error: Exception) -> None:
    pb_utils.Logger.log_error(f"an answer was lost: {type(error).__name__}: {error}")


def _column(values: list[Any], dtype: Any) -> Any:
    if dtype is np.object_:
        values = [value.encode() for value in values]
    return np.array(values, dtype=dtype).reshape(-1, 1)
