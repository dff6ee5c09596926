"""One spelling of a graph: the same nodes always in the same order, by the same names.

tf2onnx walks sets of objects, whose order is that of their addresses: the same network comes out
with other names each time, and a variant's bytes must not depend on that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Graph = Any
"""An onnx.GraphProto; onnx ships no types for its messages."""


def spell(graph: Graph) -> None:
    """Order and name nodes and tensors by their way to the outputs; what leads nowhere is dropped.

    Names of inputs and outputs stay. A graph with subgraphs, which may use any outer name, is
    left as it is.
    """
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return
    weights = {weight.name: weight for weight in graph.initializer}
    nodes = list(_in_order(graph))
    names = {tensor.name: tensor.name for tensor in (*graph.input, *graph.output)}
    kept: list[Any] = []
    for position, node in enumerate(nodes):
        node.name = f"{node.op_type}_{position}"
        for name in node.input:
            if name in weights and name not in names:
                names[name] = f"weight_{len(kept)}"
                kept.append(weights[name])
        for number, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}_{number}" if name else "")
    for node in nodes:
        node.input[:] = [names[name] if name else "" for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    for weight in kept:
        weight.name = names[weight.name]
    _replace(graph.node, nodes)
    _replace(graph.initializer, kept)
    del graph.value_info[:]


def _in_order(graph: Graph) -> Iterator[Any]:
    """Nodes so that each comes after those that it needs, in the order of its inputs."""
    makers = {name: node for node in graph.node for name in node.output if name}
    done: set[int] = set()
    waiting = [makers[tensor.name] for tensor in reversed(graph.output)]
    while waiting:
        node = waiting[-1]
        needed = [makers[name] for name in node.input if name in makers]
        missing = [one for one in needed if id(one) not in done]
        if missing:
            waiting.extend(reversed(missing))
            continue
        waiting.pop()
        if id(node) not in done:
            done.add(id(node))
            yield node


def _replace(field: Any, values: list[Any]) -> None:
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)
