"""Run in the converter's environment: how far FP16 is from FP32 at late positions.

`python compare_late_positions.py FP32 FP16` prints the greatest difference of the logits of two
variants of one causal model, when the same 12 tokens stand at positions from 0, 3,001 and 30,001.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

TOKENS = 12


def logits(folder: Path, offset: int) -> Any:
    rules = json.loads((folder / "generation.json").read_bytes())
    tokens = np.arange(1, TOKENS + 1, dtype=np.int64)[None]
    past = np.zeros((1, rules["heads"], 0, rules["head_width"]), dtype=np.float32)
    feed = {"tokens": tokens, "mask": np.ones_like(tokens), "positions": tokens - 1 + offset}
    for layer in range(rules["layers"]):
        feed |= {f"past_key_{layer}": past, f"past_value_{layer}": past}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(folder / "decoder.onnx", options).run(["logits"], feed)[0]


if __name__ == "__main__":
    whole, half = (Path(argument) for argument in sys.argv[1:])
    for at in (0, 3001, 30001):
        sys.stdout.write(f"{np.abs(logits(whole, at) - logits(half, at)).max()} ")
