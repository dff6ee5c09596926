"""Run in the serving environment: print as JSON what a network's program answers, without Triton.

`python ask_program.py MODULE CLASS OUTPUT VARIANT QUESTIONS.npz`: the program's class, the one
output of its network, a variant's folder, and questions by id. They are asked in batches of eight.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 8


def network_of(folder: Path, output: str) -> Callable[[Any], dict[str, Any]]:
    """The variant's network, by the engine that serves it."""
    if (folder / "network.onnx").exists():
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "network.onnx")
        return lambda feed: {output: session.run([output], feed)[0]}
    import openvino

    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(folder / "network.xml", "CPU", hint)
    return lambda feed: {output: compiled(feed)[output]}


def main(module: str, name: str, output: str, variant: str, questions: str) -> None:
    """Ask all, and print the answers by id."""
    from model_repository.programs.common.answers import Settings

    folder = Path(variant)
    program = getattr(importlib.import_module(f"model_repository.programs.{module}"), name)(
        folder, Settings(network=network_of(folder, output))
    )
    with np.load(questions) as stored:
        asked = {key: stored[key] for key in stored.files}
    answers: dict[str, Any] = {}
    for start in range(0, len(asked), BATCH):
        batch = dict(list(asked.items())[start : start + BATCH])
        assert not any(program.refusal(one, {}) for one in batch.values())
        found = program.answer(list(batch.values()), [{}] * len(batch))
        answers |= {key: dict(one.outputs) for key, one in zip(batch, found, strict=True)}
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
