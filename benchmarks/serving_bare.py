"""Runs in the serving environment: a release's program over full batches, no server around it.

`benchmarks.serving` starts it with a request on standard input; it prints `{"rps": ...}`.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Answer the questions in batches for the asked seconds."""
    request = json.load(sys.stdin)
    folder = Path(request["repository"]) / request["model"] / "1"
    part = Path(request["repository"]) / f"{request['model']}.{request['serving']}" / "1"
    if request["serving"] == "stream":
        folder = part
    sys.path.insert(0, str(folder))
    answerer = _answerer(folder, part, request)
    questions = _questions(request["questions"])
    batch, done = request["batch"], 0
    answerer.answer(questions[:batch], [{}] * batch)
    started = time.perf_counter()
    while time.perf_counter() - started < request["seconds"]:
        first = done % len(questions)
        asked = (questions + questions)[first : first + batch]
        answerer.answer(asked, [{}] * len(asked))
        done += len(asked)
    print(json.dumps({"rps": done / (time.perf_counter() - started)}))


def _answerer(folder: Path, part: Path, request: dict[str, Any]) -> Any:
    from serving.common.answers import Settings

    network = _network(part, request["threads"]) if request["serving"] == "network" else None
    settings = Settings(request["threads"], "CPU", network, request["options"])
    kind = json.loads((folder / "variant" / "variant.json").read_bytes())["kind"]
    module, name = {
        "whisper": ("serving.whisper.transcriber", "Transcriber"),
        "ctc-speech": ("serving.ctc_speech.recogniser", "Recogniser"),
        "lip-reading": ("serving.lip_reading.reader", "Reader"),
        "voice-cleaning": ("serving.voice_cleaning.cleaner", "Cleaner"),
        "translation": ("serving.generation.offline", "Generator"),
        "llm": ("serving.generation.offline", "Generator"),
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
