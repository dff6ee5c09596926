"""A real Triton for tests, started as a revision is: same command line, same environment."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

from infra.local import triton
from infra.local.revisions import new_endpoints
from infra.local.shared_memory import remove_regions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MODEL = "grid"
OUTPUTS = (
    "transcript",
    "average_log_probability",
    "no_speech_probability",
    "token_count",
    "compression_ratio",
)


class Server:
    """Asks one running Triton."""

    def __init__(self, endpoints: Any) -> None:
        self.endpoints = endpoints
        self.grpc = grpcclient.InferenceServerClient(endpoints.grpc_address)

    def ask(
        self, waveform: NDArray[Any], *, protocol: str = "grpc", kind: str = "FP32", **values: Any
    ) -> dict[str, Any]:
        """The outputs for a waveform [n], or for a whole tensor."""
        tensor = waveform if waveform.ndim > 1 else waveform[None]
        module = grpcclient if protocol == "grpc" else httpclient
        given = module.InferInput("waveform", list(tensor.shape), kind)
        given.set_data_from_numpy(tensor)
        if protocol == "grpc":
            result = self.grpc.infer(MODEL, [given], client_timeout=30, **values)
        else:
            url = self.endpoints.http_url.removeprefix("http://")
            with httpclient.InferenceServerClient(url, network_timeout=30) as client:
                result = client.infer(MODEL, [given], **values)
        return {name: result.as_numpy(name) for name in OUTPUTS}

    def error(self, waveform: NDArray[Any], **values: Any) -> str:
        """The message with which a request is refused."""
        try:
            answer = self.ask(waveform, **values)
        except InferenceServerException as error:
            return f"{error.status()}: {error.message()}"
        raise AssertionError(f"was answered: {answer}")

    def ask_together(self, waveforms: Sequence[NDArray[Any]]) -> list[dict[str, Any] | str]:
        """Answers, or refusals, to requests that are all in flight at once."""

        def one(waveform: NDArray[Any]) -> dict[str, Any] | str:
            try:
                return self.ask(waveform)
            except InferenceServerException as error:
                return str(error.message())

        with ThreadPoolExecutor(len(waveforms)) as pool:
            return list(pool.map(one, waveforms))

    def hears_http(self) -> bool:
        """Whether the HTTP port, which opens last, is open."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.endpoints.http)) == 0

    def batches(self) -> dict[int, int]:
        """How many executions there were of each batch size; at least one.

        Triton counts an execution a moment after its answers were sent.
        """
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            statistics = self.grpc.get_inference_statistics(MODEL).model_stats[0]
            if statistics.batch_stats:
                break
            time.sleep(0.05)
        return {batch.batch_size: batch.compute_infer.count for batch in statistics.batch_stats}


@contextmanager
def serving(
    repository: Path, log: Path, *, predictions: Path | None = None, release: int = 1
) -> Iterator[Server]:
    """A server of `repository`, gone when the block ends."""
    endpoints = new_endpoints()
    prefix = f"sluice-test-{os.getpid()}-{endpoints.http}-"
    with log.open("wb") as words:
        process = subprocess.Popen(
            triton.command_line(repository, MODEL, release, endpoints, prefix),
            env=triton.environment(predictions, triton.text_key(log.parent)),
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(endpoints)
    try:
        _wait_ready(server, process, log)
        yield server
        server.grpc.close()
        process.terminate()
        process.wait(20)
    finally:
        server.grpc.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        remove_regions(prefix)


def _wait_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if server.grpc.is_model_ready(MODEL, client_timeout=5) and server.hears_http():
                return
        except InferenceServerException:
            pass
        failed = "failed to load" in log.read_text(errors="replace")
        if failed or process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(log.read_text(errors="replace")[-4000:])
        time.sleep(0.05)


def sounds(count: int, seed: int = 0) -> list[NDArray[np.float32]]:
    """Noises of different lengths between 0.2 and 3 s."""
    random = np.random.default_rng(seed)
    lengths = np.linspace(3_200, 48_000, count).astype(int)
    return [(0.1 * random.standard_normal(n)).astype(np.float32) for n in lengths]


def sentences(grid: Path, count: int) -> list[NDArray[np.float32]]:
    """Spoken sentences of different lengths, spread over the example's evaluation set."""
    found: dict[int, NDArray[np.float32]] = {}
    for path in sorted((grid / "data" / "evaluation" / "audio").glob("*.wav"))[::7]:
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        found[samples.size] = samples.astype(np.float32) / np.float32(32768)
    return list(found.values())[:count]
