"""Live traffic: held-out utterances through the front door, half over REST and half over gRPC.

A process of its own, so that what it measures is not what the acts are busy with. It uses plain
`tritonclient`, as any user would. One JSON line an answer goes to the record.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
import wave
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

REQUESTS_PER_SECOND = 40
SESSIONS = 200
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Traffic:
    """What the stream is made of."""

    slow_share: float | None = None
    """The part of the requests that are slow talkers'; None: as many as the set has."""
    noise_db: float | None = None
    """White noise is added at this ratio of signal to noise; None: none."""
    requests_a_session: int | None = None
    """None: the requests of 200 sessions that come again and again."""


class Client:
    """Starts and stops the traffic, and reads its record."""

    def __init__(self, record: Path) -> None:
        self.record = record
        self._process: subprocess.Popen[bytes] | None = None
        self._runs = 0

    def start(self, address: str, model: str, dataset: Path, traffic: Traffic = Traffic()) -> None:
        """Begin the stream, in place of the one before; it ends by `stop`."""
        self.stop()
        self._runs += 1
        command = [sys.executable, __file__, address, model, str(dataset), str(self.record)]
        command += [f"run-{self._runs}", json.dumps(asdict(traffic))]
        # Its own session: Ctrl-C stops the demo, which then stops the stream.
        self._process = subprocess.Popen(command, start_new_session=True)

    def stop(self) -> None:
        """End the stream after the requests in flight."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=TIMEOUT_S + 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def records(self) -> list[dict[str, Any]]:
        """Every answer so far, in the order in which they came."""
        if not self.record.exists():
            return []
        return [json.loads(line) for line in self.record.read_text().splitlines()]


@dataclass(frozen=True)
class Clip:
    """One utterance: float32 samples, 16 kHz, shape [1, n]."""

    id: str
    samples: np.ndarray
    slow: bool


def load_clips(dataset: Path, noise_db: float | None) -> list[Clip]:
    """Every utterance of a dataset folder, with noise added where it is asked for."""
    clips, random = [], np.random.default_rng(1)
    for line in (dataset / "manifest.jsonl").read_text().splitlines():
        row = json.loads(line)
        with wave.open(str(dataset / row["audio_filepath"])) as file:
            pcm = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        samples = pcm.astype(np.float32) / 32768.0
        if noise_db is not None:
            loud = np.sqrt(np.mean(samples**2)) / 10 ** (noise_db / 20)
            samples = samples + random.normal(0, loud, len(samples)).astype(np.float32)
            samples /= max(1.0, float(np.abs(samples).max()))
        clips.append(Clip(row["id"], samples[None, :], row["rate"] == "slow"))
    return clips


def in_turn(clips: list[Clip], slow_share: float | None) -> list[Clip]:
    """The clips in the order in which they are sent, over and over."""
    if slow_share is None:
        return clips
    slow, others = ([one for one in clips if one.slow is kind] for kind in (True, False))
    random = np.random.default_rng(2)
    drawn = random.random(len(clips)) < slow_share
    return [
        slow[place % len(slow)] if is_slow else others[place % len(others)]
        for place, is_slow in enumerate(drawn)
    ]


async def ask_http(client: Any, model: str, clip: Clip, headers: dict[str, str]) -> tuple[int, str]:
    """Release and transcript of one REST request."""
    from tritonclient.http import InferInput

    tensor = InferInput("waveform", list(clip.samples.shape), "FP32")
    tensor.set_data_from_numpy(clip.samples)
    result = await client.infer(model, [tensor], headers=headers)
    release = int(result.get_response()["model_version"])
    return release, result.as_numpy("transcript").reshape(-1)[0].decode()


async def ask_grpc(client: Any, model: str, clip: Clip, headers: dict[str, str]) -> tuple[int, str]:
    """Release and transcript of one gRPC request."""
    from tritonclient.grpc import InferInput

    tensor = InferInput("waveform", list(clip.samples.shape), "FP32")
    tensor.set_data_from_numpy(clip.samples)
    result = await client.infer(model, [tensor], headers=headers, client_timeout=TIMEOUT_S)
    release = int(result.get_response().model_version)
    return release, result.as_numpy("transcript").reshape(-1)[0].decode()


async def stream(
    address: str, model: str, clips: list[Clip], record: Path, run: str, traffic: Traffic
) -> None:
    """Send at a steady rate until SIGTERM; the slow answer of one does not delay the next."""
    import tritonclient.grpc.aio as grpc_client
    import tritonclient.http.aio as http_client

    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    http = http_client.InferenceServerClient(address, conn_timeout=TIMEOUT_S)
    grpc = grpc_client.InferenceServerClient(address)
    tasks: set[asyncio.Task[None]] = set()
    with record.open("a", buffering=1) as file:

        async def one(number: int) -> None:
            clip = clips[number % len(clips)]
            protocol, ask, client = (
                ("grpc", ask_grpc, grpc) if number % 2 else ("http", ask_http, http)
            )
            session = f"session-{number % SESSIONS}"
            if traffic.requests_a_session:
                session = f"{run}-session-{number // traffic.requests_a_session}"
            headers = {"x-session-id": session, "x-request-id": f"demo-{run}-{number}"}
            row = {"protocol": protocol, "session": session, "utterance": clip.id}
            row |= {"noisy": traffic.noise_db is not None}
            row |= {"sent": time.time(), "release": None, "text": None, "error": None}
            try:
                row["release"], row["text"] = await asyncio.wait_for(
                    ask(client, model, clip, headers), TIMEOUT_S
                )
            except Exception as error:  # noqa: BLE001 - whatever failed is what is measured
                row["error"] = f"{type(error).__name__}: {error}"
            row["answered"] = time.time()
            file.write(json.dumps(row) + "\n")

        number, begun = 0, time.monotonic()
        while not stopping.is_set():
            task = asyncio.create_task(one(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
            wait = begun + number / REQUESTS_PER_SECOND - time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), max(wait, 0.0005))
        await asyncio.gather(*tasks)
    await http.close()
    await grpc.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("address", "model", "dataset", "record", "run", "traffic"):
        parser.add_argument(name)
    given = parser.parse_args()
    asked = Traffic(**json.loads(given.traffic))
    sent = in_turn(load_clips(Path(given.dataset), asked.noise_db), asked.slow_share)
    asyncio.run(stream(given.address, given.model, sent, Path(given.record), given.run, asked))
