"""Toy variants of the generation program, their releases, and a real Triton that serves them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

from infra.environments.locks import CONVERTER, SERVING
from infra.local import triton
from infra.local.revisions import new_endpoints
from infra.local.shared_memory import remove_regions
from model_repository.config import Batching
from model_repository.publishing import build_private

from .. import warm_python

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


HERE = Path(__file__).resolve().parent
MODEL = "toy"
SIGNALS = ("average_log_probability", "token_count", "compression_ratio")


def toys(shared: Path) -> Path:
    """The folder of the toy variants, made once for all workers of a test run."""
    from filelock import FileLock

    target = shared / "generation-toys"
    with FileLock(f"{target}.lock"):
        if not target.exists():
            staged = shared / "generation-toys.part"
            shutil.rmtree(staged, ignore_errors=True)
            warm_python.run(CONVERTER, str(HERE / "generation_toys.py"), str(staged))
            staged.rename(target)
    return target


def plain_answers(
    folder: Path, asked: Sequence[tuple[str, int]]
) -> list[tuple[str, list[int], float]]:
    """What bare ONNX Runtime answers to texts, each with the most tokens it may have."""
    said = run(SERVING.python, "generation_plain.py", folder, given=json.dumps(asked))
    return [(text, tokens, score) for text, tokens, score in json.loads(said)]


def run(python: Path, script: str, *arguments: Path, given: str = "") -> str:
    done = subprocess.run(
        [str(python), str(HERE / script), *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def release(folder: Path, variant: Path, kind: str, *, changes: Any = None, **options: int) -> Path:
    """A repository with the toy's release 1, built as publishing builds one.

    `changes` are keys of generation.json that are other than the variant's.
    """
    changed = folder / "variant"
    shutil.copytree(variant, changed)
    values = json.loads((changed / "generation.json").read_text()) | (changes or {})
    (changed / "generation.json").write_text(json.dumps(values))
    batching = Batching(options={name: str(value) for name, value in options.items()})
    return build_private(folder / "repository", changed, MODEL, kind=kind, batching=batching)


class Piece:
    """One response of a stream."""

    def __init__(self, at: float, result: Any, answer: str) -> None:
        self.at = at
        self.text, self.delta = (result.as_numpy(name)[0, 0].decode() for name in (answer, "delta"))
        self.finished = bool(result.as_numpy("finished")[0, 0])
        self.signals = {name: result.as_numpy(name)[0, 0] for name in SIGNALS}


class Stream:
    """One streamed request, on a connection of its own."""

    def __init__(
        self, address: str, answer: str, text: bytes, *, reads: bool = True, **values: Any
    ) -> None:
        self.reads = threading.Event()
        if reads:
            self.reads.set()
        self.pieces: list[Piece] = []
        self.error = ""
        self.ended = threading.Event()
        self.started = time.monotonic()
        self._answer = answer
        self._client = grpcclient.InferenceServerClient(address)
        headers = values.pop("headers", None)
        self._client.start_stream(self._hear, headers=headers)
        self._client.async_stream_infer(
            f"{MODEL}.stream",
            _tensors(grpcclient, [text]),
            enable_empty_final_response=True,
            **values,
        )

    def _hear(self, result: Any, error: Any) -> None:
        self.reads.wait(60)
        if error is not None:
            self.error = f"{error.status()}: {error.message()}"
        elif result.as_numpy("finished") is not None:
            self.pieces.append(Piece(time.monotonic(), result, self._answer))
        if error is not None or self.pieces[-1].finished:
            self.ended.set()

    def wait(self, count: int = 0, timeout_s: float = 20) -> list[Piece]:
        """The pieces, once there are `count` or the stream has ended."""
        deadline = time.monotonic() + timeout_s
        while not self.ended.is_set() and (not count or len(self.pieces) < count):
            assert time.monotonic() < deadline, f"{len(self.pieces)} pieces"
            time.sleep(0.002)
        if self.ended.is_set():
            self.close()
        return self.pieces

    def cancel(self) -> None:
        self._client.stop_stream(cancel_requests=True)
        self._client.close()

    def close(self) -> None:
        self._client.stop_stream()
        self._client.close()


class Server:
    """Asks one running Triton."""

    stopped = False

    def __init__(self, endpoints: Any, answer: str, process: subprocess.Popen[bytes]) -> None:
        self.endpoints, self.answer, self.process = endpoints, answer, process
        self.grpc = grpcclient.InferenceServerClient(endpoints.grpc_address)
        self.url = endpoints.http_url.removeprefix("http://")

    def ask(self, *texts: bytes, protocol: str = "grpc", **values: Any) -> list[dict[str, Any]]:
        """The outputs for each text of one request."""
        outputs = (self.answer, *SIGNALS)
        if protocol == "grpc":
            given = _tensors(grpcclient, texts)
            result = self.grpc.infer(MODEL, given, client_timeout=30, **values)
        else:
            with httpclient.InferenceServerClient(self.url, network_timeout=30) as client:
                result = client.infer(MODEL, _tensors(httpclient, texts), **values)
        arrays = {name: result.as_numpy(name) for name in outputs}
        assert all(array.shape == (len(texts), 1) for array in arrays.values())
        return [
            {name: array[row, 0] for name, array in arrays.items()} for row in range(len(texts))
        ]

    def text(self, text: bytes, **values: Any) -> str:
        return str(self.ask(text, **values)[0][self.answer].decode())

    def error(self, *texts: bytes, **values: Any) -> str:
        """The status and message with which a request is refused."""
        try:
            answer = self.ask(*texts, **values)
        except InferenceServerException as error:
            return f"{error.status()}: {error.message()}"
        raise AssertionError(f"was answered: {answer}")

    def begin(self, text: bytes, hear: Any) -> Any:
        """A unary call that can be cancelled; `hear` takes its result and its error."""
        return self.grpc.async_infer(MODEL, _tensors(grpcclient, [text]), hear)

    def stream(self, text: bytes, **values: Any) -> Stream:
        return Stream(self.endpoints.grpc_address, self.answer, text, **values)

    def metric(self, name: str) -> int:
        """A number of the program's, as Prometheus would read it."""
        url = f"http://127.0.0.1:{self.endpoints.metrics}/metrics"
        with urllib.request.urlopen(url, timeout=10) as page:
            lines = page.read().decode().splitlines()
        (line,) = (one for one in lines if one.startswith(f"sluice_generation_{name}{{"))
        return int(float(line.split()[-1]))

    def settled(self, name: str, value: int, timeout_s: float = 10) -> bool:
        """Whether a number gets to be `value`."""
        deadline = time.monotonic() + timeout_s
        while self.metric(name) != value:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def stop(self) -> None:
        """Ask the server to end, and wait until it has."""
        if not self.stopped:
            self.stopped = True
            self.process.terminate()
        self.process.wait(20)

    def is_ready(self) -> bool:
        models = (MODEL, f"{MODEL}.stream")
        with socket.socket() as probe:
            hears = probe.connect_ex(("127.0.0.1", self.endpoints.http)) == 0
        return hears and all(self.grpc.is_model_ready(one, client_timeout=5) for one in models)


def _tensors(module: Any, texts: Sequence[bytes]) -> list[Any]:
    given = module.InferInput("text", [len(texts), 1], "BYTES")
    given.set_data_from_numpy(np.array([[text] for text in texts], dtype=np.object_))
    return [given]


@contextmanager
def serving(
    repository: Path, log: Path, answer: str, *, predictions: Path | None = None
) -> Iterator[Server]:
    """A server of the toy's release, gone when the block ends."""
    endpoints = new_endpoints()
    prefix = f"sluice-test-{os.getpid()}-{endpoints.http}-"
    with log.open("wb") as words:
        process = subprocess.Popen(
            triton.command_line(repository, MODEL, 1, endpoints, prefix),
            env=triton.environment(predictions, triton.text_key(log.parent)),
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(endpoints, answer, process)
    try:
        _wait_ready(server, process, log)
        yield server
        if not server.stopped:
            assert process.poll() is None, "the server died"
        server.stop()
    finally:
        server.grpc.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        remove_regions(prefix)


def _wait_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with suppress(InferenceServerException):
            if server.is_ready():
                return
        failed = "failed to load" in log.read_text(errors="replace")
        if failed or process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(log.read_text(errors="replace")[-4000:])
        time.sleep(0.05)
