"""Asks a served model for its answers, many at a time, the way a client would.

Gates, golden requests and attribution all come through here: what is scored is what serves. One
item's failure is that item's answer; only an address that nobody answers at is an error.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from registry.errors import RetryableEngineError
from validation.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    Waveform = NDArray[np.float32]

SAMPLE_RATE = 16_000
_CONNECT_TIMEOUT_S = 5.0
_MAX_MESSAGE_BYTES = 64 << 20


def score(
    grpc_address: str,
    model: str,
    items: Iterable[tuple[str, Waveform]],
    *,
    in_flight: int = 32,
    timeout_s: float = 60.0,
    version: int | None = None,
) -> list[Answer]:
    """The answers to `items`, in their order.

    An item is an id and a waveform: float32, shape [samples], mono, 16 kHz, within -1 to 1. At
    most `in_flight` requests are open at a time, each for at most `timeout_s` seconds; `items` is
    read as they are sent. `version` pins a release, None takes what is served.

    Raises RetryableEngineError when nobody answers at `grpc_address`.
    """
    return asyncio.run(
        _score(grpc_address, model, iter(items), in_flight, timeout_s, str(version or ""))
    )


_PROBE = {"x-sluice-probe": True}
"""Tells the serving program that nobody's request is asked here, so it records none."""


async def _score(
    address: str,
    model: str,
    items: Iterator[tuple[str, Waveform]],
    in_flight: int,
    timeout_s: float,
    version: str,
) -> list[Answer]:
    import tritonclient.grpc.aio as grpcclient

    answers: dict[int, Answer] = {}
    numbered = enumerate(items)

    async def work(client: Any) -> None:
        for number, (identifier, waveform) in numbered:
            answers[number] = await _ask(client, model, version, identifier, waveform, timeout_s)

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


async def _ask(
    client: Any, model: str, version: str, identifier: str, waveform: Waveform, timeout_s: float
) -> Answer:
    import tritonclient.grpc as grpcclient
    from tritonclient.utils import InferenceServerException

    started = time.perf_counter()
    try:
        batch = waveform.reshape(1, -1)
        tensor = grpcclient.InferInput("waveform", list(batch.shape), "FP32")
        tensor.set_data_from_numpy(batch)
        result = await client.infer(
            model,
            [tensor],
            model_version=version,
            client_timeout=timeout_s,
            parameters=_PROBE,
        )
        return _answer(result, identifier, _elapsed_ms(started))
    except InferenceServerException as error:
        return _failure(identifier, _elapsed_ms(started), str(error.message() or error))


def _answer(result: Any, identifier: str, latency_ms: float) -> Answer:
    values = {name: _value(result, name) for name in _OUTPUTS}
    if missing := [name for name, value in values.items() if value is None]:
        return _failure(identifier, latency_ms, f"the answer has no output {missing[0]!r}")
    return Answer(
        id=identifier,
        text=values["transcript"].decode(errors="replace"),
        average_log_probability=float(values["average_log_probability"]),
        no_speech_probability=float(values["no_speech_probability"]),
        token_count=int(values["token_count"]),
        compression_ratio=float(values["compression_ratio"]),
        latency_ms=latency_ms,
    )


def _value(result: Any, name: str) -> Any:
    array = result.as_numpy(name)
    return None if array is None or array.size != 1 else array.reshape(-1)[0]


def _failure(identifier: str, latency_ms: float, message: str) -> Answer:
    nothing = float("nan")
    return Answer(
        identifier, "", nothing, nothing, 0, nothing, latency_ms, " ".join(message.split())
    )


def _elapsed_ms(started: float) -> float:
    return (time.perf_counter() - started) * 1000


_OUTPUTS = (
    "transcript",
    "average_log_probability",
    "no_speech_probability",
    "token_count",
    "compression_ratio",
)
