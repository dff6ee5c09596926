"""Writes the networks of the tests; runs in the converter's environment, which has the tools.

`python toy_networks.py FOLDER` makes in FOLDER: `model.onnx` and `model.xml` (y = relu(x W) and
s = the sum of y), `fixed.onnx` (its batch is 2), and `future.onnx` (an operator set that no
runtime has yet); and what a session of each runtime answers to `questions.npy`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEIGHT = 16, 4


def toy(batch: int | str, opset: int) -> onnx.ModelProto:
    weights = np.random.default_rng(0).normal(size=(WIDTH, HEIGHT)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Relu", ["h"], ["y"]),
            helper.make_node("ReduceSum", ["y", "axes"], ["s"], keepdims=1),
        ],
        "toy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, WIDTH])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, HEIGHT]),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, [batch, 1]),
        ],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "axes"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def main(folder: Path) -> None:
    for name, batch, opset in (("model", "n", 17), ("fixed", 2, 17), ("future", "n", 99)):
        (folder / f"{name}.onnx").write_bytes(toy(batch, opset).SerializeToString())
    model = openvino.convert_model(folder / "model.onnx")
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    questions = np.random.default_rng(1).normal(size=(40, WIDTH)).astype(np.float32)
    np.save(folder / "questions.npy", questions)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    for name, answer in zip(("y", "s"), session.run(["y", "s"], {"x": questions}), strict=True):
        np.save(folder / f"onnxruntime.{name}.npy", answer)
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(folder / "model.xml", "CPU", hint)
    result = compiled({"x": questions})
    for name in ("y", "s"):
        np.save(folder / f"openvino.{name}.npy", result[name])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
