"""Cleans sounds with the serving program and no server, in the serving environment.

`python clean_offline.py SOUNDS.npz CLEANED.npz VARIANT...` writes an array for each folder and
sound, named NUMBER/SOUND, and `ms`, milliseconds a sound for each folder (batches of eight).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from model_repository.programs.common.answers import Settings
from model_repository.programs.voice_cleaning.cleaner import Cleaner

BATCH = 8


def main(sounds: str, cleaned: str, folders: list[str]) -> None:
    with np.load(sounds) as stored:
        questions = {name: stored[name] for name in stored.files}
    answers: dict[str, Any] = {}
    times = []
    for number, folder in enumerate(folders):
        cleaner = Cleaner(Path(folder), Settings(network=network(Path(folder))))
        assert not any(cleaner.refusal(one, {}) for one in questions.values())
        names = list(questions)
        cleaner.answer([questions[names[0]]] * BATCH, [{}] * BATCH)
        started = time.perf_counter()
        for start in range(0, len(names), BATCH):
            chosen = names[start : start + BATCH]
            outcomes = cleaner.answer([questions[name] for name in chosen], [{}] * len(chosen))
            for name, outcome in zip(chosen, outcomes, strict=True):
                answers[f"{number}/{name}"] = outcome.outputs["cleaned"]
        times.append((time.perf_counter() - started) * 1000 / len(names))
    np.savez(cleaned, ms=np.array(times), **answers)


def network(folder: Path) -> Any:
    """What Triton's native backends do with the variant's file."""
    return openvino_network(folder) if (folder / "network.xml").exists() else onnx_network(folder)


def onnx_network(folder: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    path = folder / "network.onnx"
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(names, dict(feed)), strict=True))


def openvino_network(folder: Path) -> Any:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 2, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(folder / "network.xml", "CPU", settings)

    def ask(feed: Any) -> dict[str, Any]:
        found = model(dict(feed))
        return {name: found[port].copy() for port in model.outputs for name in port.names}

    return ask


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
