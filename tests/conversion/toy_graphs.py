"""Small ONNX graphs, one a kind of operator, written in the converter's environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Feed = dict[str, Any]


@dataclass(frozen=True)
class Toy:
    path: Path
    feed: Callable[[np.random.Generator], Feed]

    def feeds(self, count: int, seed: int) -> list[Feed]:
        generator = np.random.default_rng(seed)
        return [self.feed(generator) for _ in range(count)]


def make_all(folder: Path) -> dict[str, Toy]:
    return {name: make(folder) for name, make in MAKERS.items()}


def weight(name: str, *shape: int, fan: int = 0) -> tuple[str, Any]:
    generator = np.random.default_rng(sum(map(ord, name)) + sum(shape))
    values = generator.standard_normal(shape) / np.sqrt(fan or shape[0])
    return name, values.astype(np.float32)


def build(
    folder: Path,
    name: str,
    nodes: list[Any],
    inputs: list[tuple[str, int, list[Any]]],
    outputs: list[tuple[str, int, list[Any]]],
    weights: dict[str, Any],
) -> Path:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(values, key) for key, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def normal(*shape: int) -> Callable[[np.random.Generator], Feed]:
    return lambda generator: {"x": generator.standard_normal(shape).astype(np.float32)}


node = helper.make_node


def matmul(folder: Path) -> Toy:
    nodes = [
        node("MatMul", ["x", "w1"], ["a"], name="first"),
        node("Relu", ["a"], ["b"]),
        node("MatMul", ["b", "w2"], ["y"], name="second"),
    ]
    weights = dict([weight("w1", 64, 128), weight("w2", 128, 48)])
    ends = [("x", FLOAT, ["n", 64])], [("y", FLOAT, ["n", 48])]
    return Toy(build(folder, "matmul", nodes, *ends, weights), normal(4, 64))


def gemm(folder: Path) -> Toy:
    # Two layers share a weight: ONNX Runtime transposes it in place for each.
    nodes = [
        node("Gemm", ["x", "w", "b"], ["a"], name="first", transB=1),
        node("Relu", ["a"], ["c"]),
        node("Gemm", ["c", "w"], ["y"], name="second", transB=1),
    ]
    weights = dict([weight("w", 64, 64), weight("b", 64)])
    ends = [("x", FLOAT, ["n", 64])], [("y", FLOAT, ["n", 64])]
    return Toy(build(folder, "gemm", nodes, *ends, weights), normal(4, 64))


def conv(folder: Path) -> Toy:
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1], name="first"),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "w2"], ["y"], pads=[1, 1], name="second"),
    ]
    weights = dict(
        [weight("w1", 64, 32, 3, fan=96), weight("b1", 64), weight("w2", 32, 64, 3, fan=192)]
    )
    ends = [("x", FLOAT, ["n", 32, "t"])], [("y", FLOAT, ["n", 32, "t"])]
    return Toy(build(folder, "conv", nodes, *ends, weights), normal(2, 32, 40))


def conv3d(folder: Path) -> Toy:
    nodes = [
        node("Conv", ["x", "w1"], ["a"], pads=[1] * 6, name="first"),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "w2"], ["y"], pads=[1] * 6, name="second"),
    ]
    weights = dict([weight("w1", 32, 1, 3, 3, 3, fan=27), weight("w2", 16, 32, 3, 3, 3, fan=864)])
    ends = [("x", FLOAT, ["n", 1, 5, 8, 8])], [("y", FLOAT, ["n", 16, 5, 8, 8])]
    return Toy(build(folder, "conv3d", nodes, *ends, weights), normal(2, 1, 5, 8, 8))


def convtranspose(folder: Path) -> Toy:
    nodes = [node("ConvTranspose", ["x", "w"], ["y"], strides=[2], name="up")]
    weights = dict([weight("w", 32, 16, 4, fan=64)])
    ends = [("x", FLOAT, ["n", 32, 20])], [("y", FLOAT, ["n", 16, "t"])]
    return Toy(build(folder, "convtranspose", nodes, *ends, weights), normal(2, 32, 20))


def lstm(folder: Path) -> Toy:
    nodes = [
        node(
            "LSTM", ["x", "w", "r", "b"], ["a"], hidden_size=48, direction="bidirectional", name="l"
        ),
        node("Transpose", ["a"], ["t"], perm=[2, 0, 1, 3]),
        node("Reshape", ["t", "shape"], ["s"]),
        node("MatMul", ["s", "w2"], ["y"], name="head"),
    ]
    weights = dict(
        [
            weight("w", 2, 192, 32, fan=32),
            weight("r", 2, 192, 48, fan=48),
            weight("b", 2, 384, fan=100),
            ("shape", np.array([0, 16, 96])),
            weight("w2", 96, 12),
        ]
    )
    ends = [("x", FLOAT, [16, "n", 32])], [("y", FLOAT, ["n", 16, 12])]
    return Toy(build(folder, "lstm", nodes, *ends, weights), normal(16, 2, 32))


def gru(folder: Path) -> Toy:
    nodes = [
        node("GRU", ["x", "w", "r", "b"], ["y"], hidden_size=48, linear_before_reset=1, name="g")
    ]
    weights = dict(
        [weight("w", 1, 144, 32, fan=32), weight("r", 1, 144, 48, fan=48), weight("b", 1, 288)]
    )
    ends = [("x", FLOAT, [16, "n", 32])], [("y", FLOAT, [16, 1, "n", 48])]
    return Toy(build(folder, "gru", nodes, *ends, weights), normal(16, 2, 32))


def tied(folder: Path) -> Toy:
    return _language(folder, "tied", folded=False)


def folded(folder: Path) -> Toy:
    return _language(folder, "folded", folded=True)


def _language(folder: Path, name: str, *, folded: bool) -> Toy:
    """An embedding that is the head too; exporters may fold the head's transpose away."""
    _, table = weight("table", 300, 64, fan=8)
    nodes = [
        node("Gather", ["table", "x"], ["a"], name="look"),
        node("MatMul", ["a", "w"], ["b"], name="middle"),
        node("Relu", ["b"], ["c"]),
        *([] if folded else [node("Transpose", ["table"], ["head"], perm=[1, 0])]),
        node("MatMul", ["c", "head"], ["y"], name="head"),
    ]
    weights = {"table": table, **dict([weight("w", 64, 64)])}
    if folded:
        weights["head"] = np.ascontiguousarray(table.T)
    ends = [("x", INT64, ["n", "t"])], [("y", FLOAT, ["n", "t", 300])]
    path = build(folder, name, nodes, *ends, weights)
    return Toy(path, lambda generator: {"x": generator.integers(0, 300, (2, 24))})


def twins(folder: Path) -> Toy:
    """Two LSTMs of the same weights, one after the other."""
    parts = ["w", "r", "b"]
    nodes = [
        node("LSTM", ["x", *parts], ["a"], hidden_size=32, name="one"),
        node("Squeeze", ["a", "axis"], ["s"]),
        node("LSTM", ["s", *parts], ["y"], hidden_size=32, name="two"),
    ]
    weights = dict(
        [weight("w", 1, 128, 32, fan=32), weight("r", 1, 128, 32, fan=32), weight("b", 1, 256)]
    )
    weights["axis"] = np.array([1])
    ends = [("x", FLOAT, [12, "n", 32])], [("y", FLOAT, [12, 1, "n", 32])]
    return Toy(build(folder, "twins", nodes, *ends, weights), normal(12, 2, 32))


def branches(folder: Path) -> Toy:
    """An If whose branches read a weight from outside and one of their own."""
    then = helper.make_graph(
        [node("MatMul", ["x", "w"], ["t"], name="yes")],
        "then",
        [],
        [helper.make_tensor_value_info("t", FLOAT, ["n", 32])],
    )
    otherwise = helper.make_graph(
        [node("MatMul", ["x", "v"], ["e"], name="no")],
        "else",
        [],
        [helper.make_tensor_value_info("e", FLOAT, ["n", 32])],
        [numpy_helper.from_array(weight("v", 32, 32)[1], "v")],
    )
    nodes = [
        node("If", ["c"], ["i"], then_branch=then, else_branch=otherwise, name="if"),
        node("MatMul", ["i", "z"], ["y"], name="after"),
    ]
    weights = dict([weight("w", 32, 32), weight("z", 32, 32)])
    ends = [("x", FLOAT, ["n", 32]), ("c", BOOL, [])], [("y", FLOAT, ["n", 32])]
    path = build(folder, "branches", nodes, *ends, weights)
    return Toy(
        path,
        lambda generator: {
            "x": generator.standard_normal((2, 32)).astype(np.float32),
            "c": np.array(bool(generator.integers(2))),
        },
    )


def loud(folder: Path) -> Toy:
    """Its output is beyond what FP16 can hold."""
    nodes = [
        node("MatMul", ["x", "w"], ["a"], name="in"),
        node("Mul", ["a", "k"], ["b"], name="louder"),
        node("Mul", ["b", "b"], ["y"], name="square"),
    ]
    weights = dict([weight("w", 32, 32)]) | {"k": np.array([1000], np.float32)}
    ends = [("x", FLOAT, ["n", 32])], [("y", FLOAT, ["n", 32])]
    return Toy(build(folder, "loud", nodes, *ends, weights), normal(2, 32))


def outlier(folder: Path) -> Toy:
    """Three layers; one weight of the second is so large that one scale cannot hold the rest."""
    nodes = [
        node("MatMul", ["x", "w1"], ["a"], name="first"),
        node("Relu", ["a"], ["b"]),
        node("MatMul", ["b", "w2"], ["c"], name="second"),
        node("Relu", ["c"], ["d"]),
        node("MatMul", ["d", "w3"], ["y"], name="third"),
    ]
    weights = dict([weight("w1", 32, 32), weight("w2", 32, 32), weight("w3", 32, 32)])
    weights["w2"][0, 0] = 10
    ends = [("x", FLOAT, ["n", 32])], [("y", FLOAT, ["n", 32])]
    return Toy(build(folder, "outlier", nodes, *ends, weights), normal(4, 32))


def plain(folder: Path) -> Toy:
    """Nothing to quantise."""
    nodes = [node("Relu", ["x"], ["y"], name="relu")]
    ends = [("x", FLOAT, ["n", 32])], [("y", FLOAT, ["n", 32])]
    return Toy(build(folder, "plain", nodes, *ends, {}), normal(2, 32))


MAKERS: dict[str, Callable[[Path], Toy]] = {
    one.__name__: one
    for one in (
        matmul,
        gemm,
        conv,
        conv3d,
        convtranspose,
        lstm,
        gru,
        tied,
        folded,
        twins,
        branches,
        loud,
        outlier,
        plain,
    )
}
