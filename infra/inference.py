"""Asks a served model for its answers, many at a time, the way a client would.

Gates, golden requests and attribution all come through here: what is scored is what serves. One
item's failure is that item's answer; only an address that nobody answers at is an error.

Requests go out through gRPC's own threads, so the next items are read and decoded while the server
works. Everything else happens in the caller's thread.
"""

from __future__ import annotations

import time
from functools import cache
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from registry.errors import RetryableEngineError
from validation.answers import Answer, encode_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from pipelines.conversion.kind import Interface, Tensor

_CONNECT_TIMEOUT_S = 5.0
_MAX_MESSAGE_BYTES = 64 << 20
_PROBE = "x-sluice-probe"
"""Tells the serving program that nobody's request is asked here, so it records none."""
_REQUEST = "x-request-id"
"""Names a request in the prediction log."""


def score(  # noqa: PLR0913 - each is named by its caller
    grpc_address: str,
    model: str,
    interface: Interface,
    items: Iterable[tuple[str, NDArray[Any]]],
    *,
    in_flight: int = 32,
    timeout_s: float = 60.0,
    version: int | None = None,
    recorded: bool = False,
    on_answer: Callable[[Answer, bool], None] | None = None,
) -> list[Answer]:
    """The answers to `items`, in their order.

    An item is an id and a question as the interface asks it, without the batch: float32, or
    object [1] of UTF-8 bytes. At most `in_flight` requests are open at a time, each for at most
    `timeout_s` seconds; `items` is read as they are sent. `version` pins a release, None takes
    what is served. Nothing of it is in the server's prediction log unless it is `recorded`, as
    requests of the items' ids. `on_answer` gets each answer as it comes, in the caller's thread,
    and whether it is settled: an engine that failed or took too long may answer another time.

    An answer whose numbers are not finite has failed. Raises RetryableEngineError when nobody
    answers at `grpc_address`, or nobody does any more.
    """
    answers: dict[int, Answer] = {}
    release = str(version or "")
    with _Client(grpc_address, model, release, interface, timeout_s, recorded) as client:

        def take() -> None:
            number, answer, settled = client.take()
            answers[number] = answer
            if on_answer is not None:
                on_answer(answer, settled)

        for identifier, question in items:
            while client.asked - len(answers) >= in_flight:
                take()
            client.ask(identifier, question)
        while len(answers) < client.asked:
            take()
    return [answers[number] for number in range(len(answers))]


class _Client:
    """One channel to one server; answers are taken as they come, in any order."""

    def __init__(
        self,
        address: str,
        model: str,
        version: str,
        interface: Interface,
        timeout_s: float,
        recorded: bool,
    ) -> None:
        self._address, self._model, self._version = address, model, version
        self._interface, self._timeout_s, self._recorded = interface, timeout_s, recorded
        self._ended: SimpleQueue[tuple[int, str, float, Any]] = SimpleQueue()
        self.asked = 0

    def __enter__(self) -> Self:
        import grpc  # type: ignore[import-untyped]  # ships no types
        from tritonclient.grpc import service_pb2, service_pb2_grpc

        self._messages = service_pb2
        options = [
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            # Ports are used again by other servers: never share a connection with another channel.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self._channel = grpc.insecure_channel(self._address, options=options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        if reason := self._not_live():
            self._channel.close()
            raise RetryableEngineError(f"no model server answers: {reason}", where=self._address)
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def ask(self, identifier: str, question: NDArray[Any]) -> None:
        """Send one question; numbered in the order in which they are sent."""
        number, started = self.asked, time.perf_counter()
        call = self._stub.ModelInfer.future(
            self._request(identifier, question), timeout=self._timeout_s
        )
        self.asked += 1

        def ended(call: Any) -> None:
            self._ended.put((number, identifier, (time.perf_counter() - started) * 1000, call))

        call.add_done_callback(ended)

    def take(self) -> tuple[int, Answer, bool]:
        """The next answer that came, its number, whether it is settled; waits for one."""
        number, identifier, latency_ms, call = self._ended.get()
        error = call.exception()
        if error is None:
            answer = _answer(call.result(), self._interface, identifier, latency_ms)
            return number, answer, True
        import grpc

        code = error.code()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            message = f"no answer within {self._timeout_s:g} s"
        else:
            message = error.details() or code.name
        if code is grpc.StatusCode.UNAVAILABLE and self._not_live():
            raise RetryableEngineError(
                f"the model server is gone: {' '.join(message.split())}", where=self._address
            ) from error
        settled = code is grpc.StatusCode.INVALID_ARGUMENT
        return number, _failure(identifier, latency_ms, message), settled

    def _request(self, identifier: str, question: NDArray[Any]) -> Any:
        tensor = self._interface.question
        request = self._messages.ModelInferRequest(
            model_name=self._model, model_version=self._version
        )
        if self._recorded:
            request.parameters[_REQUEST].string_param = identifier
        else:
            request.parameters[_PROBE].bool_param = True
        asked = request.inputs.add()
        asked.name, asked.datatype = tensor.name, _client_type(tensor)
        asked.shape.extend((1, *question.shape))
        request.raw_input_contents.append(_wire_bytes(question))
        return request

    def _not_live(self) -> str:
        """Why the server is not live; empty when it is."""
        import grpc

        live = self._messages.ServerLiveRequest()
        try:
            found = self._stub.ServerLive(live, timeout=_CONNECT_TIMEOUT_S)
        except grpc.RpcError as error:
            return str(error.details() or error.code().name)
        return "" if found.live else "it says that it is not live"


def _wire_bytes(question: NDArray[Any]) -> bytes:
    if question.dtype != np.object_:
        return question.tobytes()
    from tritonclient.utils import serialize_byte_tensor

    return bytes(serialize_byte_tensor(question).item())


def _answer(response: Any, interface: Interface, identifier: str, latency_ms: float) -> Answer:
    judged = [interface.answer.name, *(tensor.name for tensor in interface.signals)]
    values = {
        output.name: _values(output.datatype, content)
        for output, content in zip(response.outputs, response.raw_output_contents, strict=True)
        if output.name in judged
    }
    if missing := [name for name in judged if name not in values or not values[name].size]:
        return _failure(identifier, latency_ms, f"the answer has no output {missing[0]!r}")
    if broken := next(_not_finite(values), ""):
        return _failure(identifier, latency_ms, f"the answer's {broken!r} is not finite")
    answer = values[interface.answer.name]
    is_text = interface.answer.data_type == "TYPE_STRING"
    return Answer(
        id=identifier,
        text=answer[0].decode(errors="replace") if is_text else "",
        signals={tensor.name: float(values[tensor.name][0]) for tensor in interface.signals},
        latency_ms=latency_ms,
        samples="" if is_text else encode_samples(answer),
    )


def _values(data_type: str, content: bytes) -> NDArray[Any]:
    """One output of one row, flat."""
    if data_type != "BYTES":
        return np.frombuffer(content, _numpy_type(data_type))
    from tritonclient.utils import deserialize_bytes_tensor

    found: NDArray[Any] = deserialize_bytes_tensor(content)
    return found


@cache
def _numpy_type(data_type: str) -> np.dtype[Any]:
    from tritonclient.utils import triton_to_np_dtype

    found: np.dtype[Any] = np.dtype(triton_to_np_dtype(data_type))
    return found


def _not_finite(values: dict[str, NDArray[Any]]) -> Iterator[str]:
    """Outputs that hold a NaN or an infinity."""
    for name, value in values.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            yield name


def _client_type(tensor: Tensor) -> str:
    """The type as a request names it."""
    return {"TYPE_STRING": "BYTES"}.get(tensor.data_type, tensor.data_type.removeprefix("TYPE_"))


def _failure(identifier: str, latency_ms: float, message: str) -> Answer:
    return Answer(identifier, "", latency_ms=latency_ms, error=" ".join(message.split()))
