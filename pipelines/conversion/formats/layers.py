"""The layers that a recipe would quantise, by the names that its `keep` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.conversion.formats import graph, openvino_ir, sharing
from pipelines.conversion.formats.settings import Dynamic, OnnxWeights, Static, method_of, read

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.conversion.kind import Recipe

_OPENVINO = {
    "MatMul": (0, 1),
    "Convolution": (1,),
    "GroupConvolution": (1,),
    "ConvolutionBackpropData": (1,),
    "LSTMSequence": (4,),
}
"""By type of node: inputs where a constant makes it a layer with weights."""


def quantisable(recipe: Recipe, fp32_graph: Path) -> tuple[str, ...]:
    """Names of the nodes with weights that `recipe` would quantise, in the graph's order."""
    if recipe.format == "openvino":
        return _of_openvino(fp32_graph)
    settings = {"dynamic": Dynamic, "static": Static, "weights": OnnxWeights}.get(method_of(recipe))
    return _of_onnx(fp32_graph, read(recipe, settings).operators) if settings else ()


def _of_onnx(fp32_graph: Path, operators: tuple[str, ...]) -> tuple[str, ...]:
    model = graph.load(fp32_graph)
    sharing.merge(model)
    tied = sharing.tied_look_ups(model, sharing.separate(model))
    weights = {one.name for one in model.graph.initializer}
    return tuple(
        node.name
        for node in model.graph.node
        if node.op_type in operators
        and node.name not in tied
        and node.input[0 if node.op_type == "Gather" else 1] in weights
    )


def _of_openvino(fp32_graph: Path) -> tuple[str, ...]:
    ordered = openvino_ir.convert(fp32_graph).get_ordered_ops()
    return tuple(
        node.get_friendly_name()
        for node in ordered
        if any(_is_constant(node, place) for place in _OPENVINO.get(node.get_type_name(), ()))
    )


def _is_constant(node: Any, place: int) -> bool:
    return bool(node.input(place).get_source_output().get_node().get_type_name() == "Constant")
