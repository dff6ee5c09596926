"""Writes toy graphs in every format, and what came of each into FOLDER/results.json.

    write_toy_formats.py FOLDER forward|backward

Runs in the converter's environment. The order must not matter: engines name nodes by counters.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from pipelines.conversion import formats
from pipelines.conversion.formats.opening import open_graph
from pipelines.conversion.kind import Recipe
from registry.errors import SluiceError

# A script beside this one; the tests are no package.
toy_graphs: Any = importlib.import_module("toy_graphs")
STATIC_OPERATORS = "MatMul,Gemm,Conv,ConvTranspose,Gather"
RECIPES: dict[str, tuple[str, str, dict[str, str | bool | int | float]]] = {
    "onnx-fp32": ("onnx", "fp32", {}),
    "onnx-fp16": ("onnx", "fp16", {}),
    "onnx-fp16-kept": ("onnx", "fp16", {"keep_operators": "Mul"}),
    "onnx-int8": (
        "onnx",
        "int8",
        {"method": "dynamic", "operators": "MatMul,Gemm,Conv,LSTM,Gather", "per_channel": True},
    ),
    "onnx-int8-matmul": (
        "onnx",
        "int8",
        {"method": "dynamic", "operators": "MatMul", "MatMulConstBOnly": True},
    ),
    "onnx-int8-gru": ("onnx", "int8", {"method": "dynamic", "operators": "GRU"}),
    "onnx-int8-tensor": ("onnx", "int8", {"method": "dynamic", "per_channel": False}),
    "onnx-int8-static": ("onnx", "int8", {"method": "static", "operators": STATIC_OPERATORS}),
    "onnx-int8-static-symmetric": (
        "onnx",
        "int8",
        {"method": "static", "symmetric": True, "per_channel": False},
    ),
    "onnx-int8-static-percentile": (
        "onnx",
        "int8",
        {"method": "static", "calibration": "percentile", "percentile": 99.99},
    ),
    "onnx-int8-static-entropy": ("onnx", "int8", {"method": "static", "calibration": "entropy"}),
    "onnx-int8-static-lstm": (
        "onnx",
        "int8",
        {"method": "static", "operators": "MatMul", "dynamic_operators": "LSTM"},
    ),
    "onnx-int8-static-kept": ("onnx", "int8", {"method": "static", "keep": "second"}),
    "onnx-int8-weights": ("onnx", "int8", {"method": "weights"}),
    "openvino-fp32": ("openvino", "fp32", {}),
    "openvino-fp16": ("openvino", "fp16", {}),
    "openvino-int8": ("openvino", "int8", {"method": "weights", "mode": "int8_sym"}),
    "openvino-int8-asym": ("openvino", "int8", {"method": "weights", "mode": "int8_asym"}),
    "openvino-int4": (
        "openvino",
        "int4",
        {"method": "weights", "mode": "int4_sym", "group_size": 128},
    ),
    "openvino-int4-asym": (
        "openvino",
        "int4",
        {"method": "weights", "mode": "int4_asym", "group_size": 32, "all_layers": True},
    ),
    "openvino-int8-full": ("openvino", "int8", {"method": "full"}),
    "openvino-int8-full-transformer": (
        "openvino",
        "int8",
        {"method": "full", "model_type": "transformer", "fast_bias_correction": False},
    ),
    "openvino-int8-full-performance": (
        "openvino",
        "int8",
        {"method": "full", "preset": "performance"},
    ),
}


MAIN = (
    "onnx-fp32",
    "onnx-fp16",
    "onnx-int8",
    "onnx-int8-static",
    "onnx-int8-weights",
    "openvino-fp16",
    "openvino-int8",
    "openvino-int8-full",
    "openvino-int4",
)
"""Written of each of TOYS; the others only of those for which they are interesting."""
TOYS = ("matmul", "gemm", "conv", "conv3d", "lstm", "gru", "folded")
OTHERS = {
    "onnx-fp32": "tied twins branches",
    "onnx-fp16": "loud branches",
    "onnx-fp16-kept": "loud conv branches",
    "onnx-int8": "convtranspose tied twins branches plain",
    "onnx-int8-static": "convtranspose tied",
    "onnx-int8-weights": "convtranspose tied twins branches plain",
    "openvino-fp16": "branches convtranspose",
    "openvino-int8": "convtranspose twins plain",
    "openvino-int8-full": "convtranspose plain",
    "onnx-int8-matmul": "lstm conv",
    "onnx-int8-gru": "gru",
    "onnx-int8-tensor": "folded",
    "onnx-int8-static-symmetric": "conv",
    "onnx-int8-static-percentile": "conv",
    "onnx-int8-static-entropy": "conv",
    "onnx-int8-static-lstm": "lstm",
    "onnx-int8-static-kept": "conv lstm",
    "openvino-fp32": "conv",
    "openvino-int8-asym": "matmul",
    "openvino-int4-asym": "folded",
    "openvino-int8-full-transformer": "matmul",
    "openvino-int8-full-performance": "lstm conv",
}
AGAIN = ("lstm", "folded", "branches")
"""Written a second time, backward, by a process of another hash seed."""


def main() -> None:
    folder, direction = sys.argv[1:]
    root = Path(folder)
    (root / "toys").mkdir(parents=True)
    toys = toy_graphs.make_all(root / "toys")
    pairs = [(name, variant) for name in TOYS for variant in MAIN]
    pairs += [(name, one) for one, names in OTHERS.items() for name in names.split()]
    if direction == "backward":
        pairs = [(name, one) for name, one in reversed(pairs) if name in AGAIN]
    results = {f"{name} {variant}": attempt(root, toys[name], variant) for name, variant in pairs}
    (root / "results.json").write_text(json.dumps(results))


def attempt(root: Path, toy: Any, variant: str) -> dict[str, Any]:
    format_, precision, parameters = RECIPES[variant]
    recipe = Recipe(variant, format_, precision, parameters)
    folder = root / variant
    folder.mkdir(exist_ok=True)
    before = toy.path.read_bytes()
    name = toy.path.stem
    try:
        formats.write(recipe, name, toy.path, folder, toy.feeds(24, 1))
    except SluiceError as error:
        return {"type": type(error).__name__, "message": str(error), "left": left(folder, name)}
    files = {path.name: path.read_bytes() for path in sorted(folder.glob(f"{name}.*"))}
    weights = sum(len(data) for path, data in files.items() if not path.endswith(".xml"))
    return {
        "files": {path: hashlib.sha256(data).hexdigest() for path, data in files.items()},
        "ratio": weights / len(before),
        "error": error_of(toy, folder, recipe),
        "untouched": toy.path.read_bytes() == before,
        "tools": formats.tools_of(recipe),
    }


def left(folder: Path, name: str) -> list[str]:
    return [path.name for path in folder.glob(f"{name}.*")]


def error_of(toy: Any, folder: Path, recipe: Recipe) -> float:
    """Root mean square of the difference, over that of the FP32 output."""
    suffix = "xml" if recipe.format == "openvino" else "onnx"
    expected = open_graph(toy.path)
    found = open_graph(folder / f"{toy.path.stem}.{suffix}")
    feeds = toy.feeds(8, 2)
    wanted = np.concatenate([expected(feed)["y"].ravel() for feed in feeds])
    got = np.concatenate([found(feed)["y"].ravel() for feed in feeds])
    return float(np.sqrt(np.mean((got - wanted) ** 2) / np.mean(wanted**2)))


if __name__ == "__main__":
    main()
