"""Callers of the front door, half over REST and half over gRPC, in a process of their own.

    python -m benchmarks.moving_traffic.callers HOST:PORT MODEL RATE FILE

Asks RATE times a second over connections that stay open, in sessions of a few requests, until its
standard input ends; then waits for what is under way and writes one row for each request to FILE.
Prints a line when the first request of each caller was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Ask = Callable[[str], Awaitable[tuple[int, int]]]

CALLERS = 12
"""Of each protocol, one request under way at a time."""
LONGEST_SESSION = 4
TIMEOUT_S = 30.0
MOST_REASONS = 100
ROW = np.dtype(
    [
        ("begun", "f8"),  # time.monotonic()
        ("ended", "f8"),
        ("release", "i4"),  # by the answer itself, 0 without one
        ("labelled", "i4"),  # by the front door's header
        ("grpc", "?"),
    ]
)


class Failed(Exception):  # noqa: N818 - a request's end, as its caller sees it
    """What was answered is no answer."""


class Record:
    """One row for each request, and what the first failed ones met."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, int, int, bool]] = []
        self.reasons: list[str] = []

    async def ask(self, ask: Ask, session: str, *, grpc: bool) -> None:
        """Ask once and remember how that went."""
        begun = time.monotonic()
        release = labelled = 0
        try:
            release, labelled = await ask(session)
        except Exception as error:  # noqa: BLE001 - whatever a caller meets is a failed request
            if len(self.reasons) < MOST_REASONS:
                what = f"{type(error).__name__}: {error}".replace("\n", " ")
                self.reasons.append(f"{begun:.3f} {'gRPC' if grpc else 'REST'} {what}")
        self.rows.append((begun, time.monotonic(), release, labelled, grpc))

    def save(self, path: Path) -> None:
        """Write everything to one file."""
        rows = np.array(self.rows, dtype=ROW)
        np.savez(path, rows=rows, reasons=np.array(json.dumps(self.reasons)))


async def main(address: str, model: str, rate: float, file: Path) -> None:
    """Ask until standard input ends."""
    import aiohttp
    import grpc.aio  # type: ignore[import-untyped]

    record, stop = Record(), asyncio.Event()
    watch = asyncio.create_task(_end_of_input(stop))
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3600)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector) as rest,
        grpc.aio.insecure_channel(address) as channel,
    ):
        asks = (_rest(rest, f"http://{address}/v2/models/{model}/infer"), _grpc(channel, model))
        period = 2 * CALLERS / rate
        callers = [
            asyncio.create_task(_call(record, ask, period, stop, grpc=bool(protocol)))
            for protocol, ask in enumerate(asks)
            for _ in range(CALLERS)
        ]
        while len(record.rows) < len(callers):  # noqa: ASYNC110 - rows are no event
            await asyncio.sleep(0.01)
        sys.stdout.write("asking\n")
        sys.stdout.flush()
        await asyncio.gather(*callers)
    await watch
    record.save(file)


async def _end_of_input(stop: asyncio.Event) -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    stop.set()


async def _call(
    record: Record, ask: Ask, period: float, stop: asyncio.Event, *, grpc: bool
) -> None:
    """One caller: a request each `period` seconds, or as soon as the one before was answered."""
    left, session = 0, ""
    due = time.monotonic() + random.random() * period  # noqa: S311 - spreads callers out
    while not stop.is_set():
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        due = max(due + period, time.monotonic())
        if not left:
            left, session = random.randint(1, LONGEST_SESSION), f"{random.getrandbits(64):x}"  # noqa: S311
        left -= 1
        await record.ask(ask, session, grpc=grpc)


def _rest(client: Any, url: str) -> Ask:
    tensor = {"name": "waveform", "datatype": "FP32", "shape": [1, 2], "data": [0, 0]}
    body = json.dumps({"inputs": [tensor]}).encode()

    async def ask(session: str) -> tuple[int, int]:
        async with client.post(url, data=body, headers={"x-session-id": session}) as response:
            answer = await response.read()
            if response.status != 200:
                raise Failed(f"{response.status} {answer[:200].decode(errors='replace')}")
            said = json.loads(answer)["outputs"][0]["data"][0]
            return _release(said), int(response.headers["x-sluice-release"])

    return ask


def _grpc(channel: Any, model: str) -> Ask:
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name=model)
    tensor = request.inputs.add(name="waveform", datatype="FP32", shape=[1, 2])
    tensor.contents.fp32_contents.extend([0.0, 0.0])
    request.outputs.add(name="transcript")
    body = request.SerializeToString()
    infer = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        response_deserializer=service_pb2.ModelInferResponse.FromString,
    )

    async def ask(session: str) -> tuple[int, int]:
        call = infer(body, metadata=(("x-session-id", session),), timeout=TIMEOUT_S)
        answer = await call
        headers = dict(await call.initial_metadata())
        # Length in four bytes, then the text.
        said = answer.raw_output_contents[0][4:].decode()
        return _release(said), int(headers["x-sluice-release"])

    return ask


def _release(said: str) -> int:
    name, _, number = said.partition(" ")
    if name != "release":
        raise Failed(f"not an answer of the toy's: {said[:80]!r}")
    return int(number)


if __name__ == "__main__":
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("model")
    parser.add_argument("rate", type=float)
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    uvloop.run(main(given.address, given.model, given.rate, given.file))
