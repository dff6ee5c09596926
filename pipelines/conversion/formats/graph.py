"""An ONNX graph as the writers need it: read whole, every node named, checked when written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Model = Any
"""An onnx.ModelProto; onnx ships no types for its messages."""


def load(path: Path) -> Model:
    """The graph at `path` with its weights, each node with a name of its own.

    Names are what recipes keep in FP32, so nodes without one are called TYPE_NUMBER, which is
    the same for the same graph.
    """
    import onnx

    model = onnx.load(path)
    for weight in model.graph.initializer:
        if not weight.raw_data and weight.data_type == onnx.TensorProto.FLOAT:
            weight.CopyFrom(
                onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight), weight.name)
            )
    seen: set[str] = set()
    for number, node in enumerate(nodes(model.graph)):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{number}"
        seen.add(node.name)
    return model


def nodes(graph: Any) -> Iterator[Any]:
    """Every node of a GraphProto, those of its subgraphs (If, Loop, Scan) included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for subgraph in _subgraphs(attribute):
                yield from nodes(subgraph)


def operators(model: Model) -> dict[str, int]:
    """How many nodes of each type the graph and its subgraphs hold."""
    count: dict[str, int] = {}
    for node in nodes(model.graph):
        count[node.op_type] = count.get(node.op_type, 0) + 1
    return count


def require_nodes(model: Model, names: Sequence[str]) -> None:
    """Raise UserError when a name that a recipe keeps in FP32 is not that of a node."""
    if unknown := sorted(set(names) - {node.name for node in nodes(model.graph)}):
        raise UserError(f"the graph has no node {unknown[0]!r}", remedy="mend the recipe's keep")


def sort(model: Model) -> None:
    """Put each node after those that it reads, also through its subgraphs, else in its order."""
    made_by = {name: i for i, node in enumerate(model.graph.node) for name in node.output if name}
    needs = [
        {made_by[name] for name in _reads(node) if name in made_by} for node in model.graph.node
    ]
    done: dict[int, None] = {}
    for first in range(len(needs)):
        stack = [first]
        while stack:
            left = sorted((one for one in needs[stack[-1]] if one not in done), reverse=True)
            if stack[-1] in done or not left:
                done[stack.pop()] = None
            else:
                stack.extend(left)
    ordered = [model.graph.node[index] for index in done]
    del model.graph.node[:]
    model.graph.node.extend(ordered)


def _reads(node: Any) -> set[str]:
    inner = [one for attribute in node.attribute for one in _subgraphs(attribute)]
    return {*node.input, *(name for one in inner for each in nodes(one) for name in each.input)}


def _subgraphs(attribute: Any) -> list[Any]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def save(model: Model, path: Path) -> None:
    """Write and check the graph. Raises onnx.checker.ValidationError if it breaks ONNX's rules."""
    path.write_bytes(model.SerializeToString(deterministic=True))
    check(path)


def check(path: Path) -> None:
    """Raise onnx.checker.ValidationError when the graph breaks ONNX's rules."""
    import onnx

    onnx.checker.check_model(str(path), full_check=True)


def has_weights_of(model: Model, data_types: tuple[int, ...], *, larger_than: int = 1) -> bool:
    """Whether an initializer of one of these types has more than `larger_than` elements."""
    import math

    return any(
        one.data_type in data_types and math.prod(one.dims) > larger_than
        for one in model.graph.initializer
    )
