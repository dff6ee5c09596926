"""Asks a served model for its answers, many at a time, the way a client would.

Gates, golden requests and attribution all come through here: what is scored is what serves. One
item's failure is that item's answer; only an address that nobody answers at is an error.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.errors import RetryableEngineError
from validation.answers import Answer, encode_samples

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from pipelines.conversion.kind import Interface, Tensor

_CONNECT_TIMEOUT_S = 5.0
_MAX_MESSAGE_BYTES = 64 << 20


def score(
    grpc_address: str,
    model: str,
    interface: Interface,
    items: Iterable[tuple[str, NDArray[Any]]],
    *,
    in_flight: int = 32,
    timeout_s: float = 60.0,
    version: int | None = None,
) -> list[Answer]:
    """The answers to `items`, in their order.

    An item is an id and a question as the interface asks it, without the batch: float32, or
    object [1] of UTF-8 bytes. At most `in_flight` requests are open at a time, each for at most
    `timeout_s` seconds; `items` is read as they are sent. `version` pins a release, None takes
    what is served.

    Raises RetryableEngineError when nobody answers at `grpc_address`.
    """
    asking = _Asking(model, str(version or ""), interface, timeout_s)
    return asyncio.run(_score(grpc_address, asking, iter(items), in_flight))


@dataclass(frozen=True, slots=True)
class _Asking:
    model: str
    version: str
    interface: Interface
    timeout_s: float


_PROBE = {"x-sluice-probe": True}
"""Tells the serving program that nobody's request is asked here, so it records none."""


async def _score(
    address: str, asking: _Asking, items: Iterator[tuple[str, NDArray[Any]]], in_flight: int
) -> list[Answer]:
    import tritonclient.grpc.aio as grpcclient

    answers: dict[int, Answer] = {}
    numbered = enumerate(items)

    async def work(client: Any) -> None:
        for number, (identifier, question) in numbered:
            answers[number] = await _ask(client, asking, identifier, question)

    options = [
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ]
    async with grpcclient.InferenceServerClient(address, channel_args=options) as client:
        await _require_live(client, address)
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(work(client))
    return [answers[number] for number in range(len(answers))]


async def _require_live(client: Any, address: str) -> None:
    from tritonclient.utils import (
        InferenceServerException,
    )

    try:
        live = await client.is_server_live(client_timeout=_CONNECT_TIMEOUT_S)
    except InferenceServerException as error:
        raise RetryableEngineError(
            f"no model server answers: {error.message()}", where=address
        ) from error
    if not live:
        raise RetryableEngineError("the model server says that it is not live", where=address)


async def _ask(client: Any, asking: _Asking, identifier: str, question: NDArray[Any]) -> Answer:
    import tritonclient.grpc as grpcclient
    from tritonclient.utils import InferenceServerException

    started = time.perf_counter()
    tensor = asking.interface.question
    try:
        batch = question[None]
        asked = grpcclient.InferInput(tensor.name, list(batch.shape), _client_type(tensor))
        asked.set_data_from_numpy(batch)
        result = await client.infer(
            asking.model,
            [asked],
            model_version=asking.version,
            client_timeout=asking.timeout_s,
            parameters=_PROBE,
        )
        return _answer(result, asking.interface, identifier, _elapsed_ms(started))
    except InferenceServerException as error:
        return _failure(identifier, _elapsed_ms(started), str(error.message() or error))


def _answer(result: Any, interface: Interface, identifier: str, latency_ms: float) -> Answer:
    judged = (interface.answer, *interface.signals)
    values = {tensor.name: result.as_numpy(tensor.name) for tensor in judged}
    if missing := [name for name, value in values.items() if value is None or not value.size]:
        return _failure(identifier, latency_ms, f"the answer has no output {missing[0]!r}")
    answer = values[interface.answer.name].reshape(-1)
    is_text = interface.answer.data_type == "TYPE_STRING"
    return Answer(
        id=identifier,
        text=answer[0].decode(errors="replace") if is_text else "",
        signals={tensor.name: float(values[tensor.name].flat[0]) for tensor in interface.signals},
        latency_ms=latency_ms,
        samples="" if is_text else encode_samples(answer),
    )


def _client_type(tensor: Tensor) -> str:
    """The type as a request names it."""
    return {"TYPE_STRING": "BYTES"}.get(tensor.data_type, tensor.data_type.removeprefix("TYPE_"))


def _failure(identifier: str, latency_ms: float, message: str) -> Answer:
    return Answer(identifier, "", latency_ms=latency_ms, error=" ".join(message.split()))


def _elapsed_ms(started: float) -> float:
    return (time.perf_counter() - started) * 1000
