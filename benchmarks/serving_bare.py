"""Runs in the serving environment: a release's program over full batches, no server around it.

`benchmarks.serving` starts it with a request on standard input; it prints `{"rps": ...}`. A program
that writes text makes its own batches: it is kept as full as it gets.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Generator

ANSWER_TIMEOUT_S = 60.0


def main() -> None:
    """Answer the questions for the asked seconds."""
    request = json.load(sys.stdin)
    folder = Path(request["repository"]) / request["model"] / "1"
    part = Path(request["repository"]) / f"{request['model']}.{request['serving']}" / "1"
    if request["serving"] == "stream":
        folder = part
    sys.path.insert(0, str(folder))
    questions = _questions(request["questions"])
    if request["serving"] == "stream":
        counts = _one_by_one(folder, questions, request)
    else:
        counts = _batch_by_batch(_answerer(folder, part, request), questions, request["batch"])
    next(counts)  # It loads first.
    _rate(counts, request["seconds"] / 4)  # Runtimes compile for each shape that they meet.
    rps = _rate(counts, request["seconds"])
    counts.close()
    print(json.dumps({"rps": rps}))


def _rate(counts: Generator[int], seconds: float) -> float:
    """What was counted a second."""
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        done += next(counts)
    return done / (time.perf_counter() - started)


def _batch_by_batch(answerer: Any, questions: list[Any], batch: int) -> Generator[int]:
    """How many questions were answered by each call of a program, without an end."""
    first = 0
    while True:
        asked = [questions[(first + row) % len(questions)] for row in range(batch)]
        answerer.answer(asked, [{}] * batch)
        first += batch
        yield batch


def _one_by_one(folder: Path, questions: list[Any], request: dict[str, Any]) -> Generator[int]:
    """1 for each answer of a program that is asked again whenever it has answered.

    The first comes when as many were answered as are computed side by side.
    """
    courier = importlib.import_module("serving.generation.courier")
    bounds_of = importlib.import_module("serving.generation.scheduler").Bounds
    said: SimpleQueue[str] = SimpleQueue()

    class Way(courier.Channel):  # type: ignore[misc,name-defined]  # the release's own
        streamed = False

        def send(self, answer: Any) -> None:
            said.put("" if answer.finished else "an answer came in pieces")

        def fail(self, code: str, reason: str) -> None:
            said.put(f"{code}: {reason}")

        def is_cancelled(self) -> bool:
            return False

    live = int(request["options"].get("max_live", bounds_of.max_live))
    service = importlib.import_module("serving.generation.service").Service(
        folder / "variant",
        threads=request["threads"],
        device="CPU",
        bounds=bounds_of(live, live),
        log=None,
        report=lambda error: print(error, file=sys.stderr),
        each_turn=lambda _: None,
    )
    try:
        for asked in range(live):
            service.take(bytes(questions[asked % len(questions)][0]), {}, Way())
        while True:
            if fault := said.get(timeout=ANSWER_TIMEOUT_S):
                raise RuntimeError(fault)
            asked += 1
            service.take(bytes(questions[asked % len(questions)][0]), {}, Way())
            if asked >= 2 * live:
                yield 1
    finally:
        service.close(ANSWER_TIMEOUT_S)


def _answerer(folder: Path, part: Path, request: dict[str, Any]) -> Any:
    from serving.common.answers import Settings

    network = _network(part, request["threads"]) if request["serving"] == "network" else None
    settings = Settings(request["threads"], "CPU", network, request["options"])
    kind = json.loads((folder / "variant" / "variant.json").read_bytes())["kind"]
    module, name = {
        "whisper": ("serving.whisper.transcriber", "Transcriber"),
        "ctc-speech": ("serving.ctc_speech.recogniser", "Recogniser"),
        "lip-reading": ("serving.lip_reading.reader", "LipReader"),
        "voice-cleaning": ("serving.voice_cleaning.cleaner", "Cleaner"),
    }[kind]
    return getattr(importlib.import_module(module), name)(folder / "variant", settings)


def _network(part: Path, threads: int) -> Any:
    """The network in a runtime of its own, as the native backends run it."""
    if (part / "model.onnx").exists():
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            str(part / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        return lambda feed: dict(zip(names, session.run(names, dict(feed)), strict=True))
    import openvino

    hints = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(part / "model.xml", "CPU", hints)
    outputs = [output.get_any_name() for output in compiled.outputs]

    def run(feed: dict[str, Any]) -> dict[str, Any]:
        found = compiled(dict(feed))
        return {name: np.array(found[name]) for name in outputs}

    return run


def _questions(path: str) -> list[Any]:
    with np.load(path, allow_pickle=False) as stored:
        arrays = [stored[name] for name in stored.files]
    return [
        np.array([str(one).encode()], dtype=np.object_) if one.dtype.kind == "U" else one
        for one in arrays
    ]


if __name__ == "__main__":
    main()
