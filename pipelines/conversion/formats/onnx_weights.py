"""ONNX with INT8 weights and FP32 arithmetic: for layers that have no INT8 kernel, such as GRU.

A weight becomes INT8 with one scale an output channel and a DequantizeLinear; a table that is
looked up (Gather) is looked up in INT8, and only the rows found are scaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.conversion.formats import graph, sharing
from pipelines.conversion.formats.settings import OnnxWeights, read
from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pipelines.conversion.formats.writing import Feeds
    from pipelines.conversion.kind import Recipe

LARGE = 256
"""Fewer elements than this stay FP32: their scales and nodes would weigh as much."""
_WEIGHTS = {
    "MatMul": ((1, -1),),
    "Gemm": ((1, 1),),
    "Conv": ((1, 0),),
    "ConvTranspose": ((1, 1),),
    "LSTM": ((1, 1), (2, 1)),
    "GRU": ((1, 1), (2, 1)),
    "Gather": ((0, 0),),
}
"""By type of node: position of each weight among the inputs, and axis of its output channels."""


@dataclass(frozen=True)
class _Use:
    """One node that reads a weight."""

    node: Any
    position: int
    axis: int


def write_int8(recipe: Recipe, fp32_graph: Path, made: Path, _: Feeds) -> None:
    """INT8 weights of every node whose type is among the recipe's operators."""
    settings = read(recipe, OnnxWeights)
    if unable := [one for one in settings.operators if one not in _WEIGHTS]:
        raise UserError(
            f"the weights of {', '.join(unable)} cannot be compressed",
            remedy=f"those of {', '.join(_WEIGHTS)} can",
        )
    model = graph.load(fp32_graph)
    graph.require_nodes(model, settings.keep)
    sharing.merge(model)
    ties = sharing.separate(model)
    weights = {one.name: one for one in model.graph.initializer}
    uses = _uses(model, settings, weights)
    for name, readers in uses.items():
        _compress(model, weights[name], readers)
    if not uses:
        raise UserError(
            f"no constant weight of {' or '.join(settings.operators)} to compress; the graph is"
            f" made of {', '.join(sorted(graph.operators(model)))}",
            remedy="leave this variant out for this model",
        )
    sharing.join(model, ties)
    graph.save(model, made)


def _uses(model: Any, settings: OnnxWeights, weights: dict[str, Any]) -> dict[str, list[_Use]]:
    """Who reads each large FP32 weight; a weight that anything else reads too is left out."""
    import onnx

    found: dict[str, list[_Use]] = {}
    spoiled = {one.name for one in (*model.graph.input, *model.graph.output)}
    inner = {name for node in graph.nodes(model.graph) for name in node.input}
    inner -= {name for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        wanted = node.op_type in settings.operators and node.name not in settings.keep
        known = dict(_WEIGHTS[node.op_type]) if wanted else {}
        for position, name in enumerate(node.input):
            if name not in weights:
                continue
            if position in known:
                axis = _axis(node, known[position], len(weights[name].dims))
                found.setdefault(name, []).append(_Use(node, position, axis))
            else:
                spoiled.add(name)
    return {
        name: readers
        for name, readers in found.items()
        if name not in spoiled | inner
        and weights[name].data_type == onnx.TensorProto.FLOAT
        and _elements(weights[name]) >= LARGE
        and len({use.axis for use in readers}) == 1
    }


def _axis(node: Any, axis: int, rank: int) -> int:
    import onnx

    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    if node.op_type == "Gemm" and attributes.get("transB", 0):
        return 0
    if node.op_type == "Gather":
        return int(attributes.get("axis", 0)) % rank
    return axis % rank


def _elements(weight: Any) -> int:
    import math

    return math.prod(weight.dims)


def _compress(model: Any, weight: Any, readers: list[_Use]) -> None:
    import onnx

    name, axis = weight.name, readers[0].axis
    quantised, scales = quantise(onnx.numpy_helper.to_array(weight), axis)
    weight.CopyFrom(onnx.numpy_helper.from_array(quantised, f"{name}_quantized"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(scales, f"{name}_scale"))
    others = []
    for use in readers:
        if use.node.op_type == "Gather":
            sharing.look_up(
                model, use.node, f"{name}_quantized", f"{name}_scale", rank=quantised.ndim
            )
        else:
            use.node.input[use.position] = f"{name}_dequantized"
            others.append(use)
    if others:
        dequantise = onnx.helper.make_node(
            "DequantizeLinear",
            [f"{name}_quantized", f"{name}_scale"],
            [f"{name}_dequantized"],
            name=f"{name}_DequantizeLinear",
            axis=axis,
        )
        model.graph.node.insert(0, dequantise)


def quantise(
    values: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """`values` as int8 in -127..127 and one float32 scale for each index of `axis`."""
    import numpy as np

    others = tuple(number for number in range(values.ndim) if number != axis)
    largest = np.abs(values).max(axis=others)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    shape = [-1 if number == axis else 1 for number in range(values.ndim)]
    return np.rint(values / scales.reshape(shape)).astype(np.int8), scales
