"""Weights that a graph holds twice are stored once: equal ones, and an embedding tied to its head.

Exporters fold the transposed embedding of a tied head into a weight of its own. Quantisers need
it so, because they look for constants. So the head's weight is first made a constant
(`separate`), and when the quantiser is done, table and head are stored once again (`join`), in
FP32 or as INT8 with a scale for each row, whichever the head became.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.conversion.formats import graph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SMALL = 1024
"""Weights of fewer bytes are not looked at: scalars and shapes are often equal by chance."""


@dataclass(frozen=True)
class Tie:
    """Names of an embedding [rows, width] and of the same numbers as a head [width, rows]."""

    table: str
    head: str


def merge(model: graph.Model) -> bool:
    """Let equal weights be one; whether there were any."""
    first: dict[tuple[int, tuple[int, ...], str], str] = {}
    renamed: dict[str, str] = {}
    outside = {one.name for one in (*model.graph.input, *model.graph.output)}
    for weight in model.graph.initializer:
        if weight.name in outside or len(weight.raw_data) < SMALL:
            continue
        content = hashlib.sha256(weight.raw_data).hexdigest()
        name = first.setdefault((weight.data_type, tuple(weight.dims), content), weight.name)
        if name != weight.name:
            renamed[weight.name] = name
    for node in graph.nodes(model.graph):
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
    _remove(model, set(renamed))
    return bool(renamed)


def separate(model: graph.Model) -> tuple[Tie, ...]:
    """Give every tied head a constant weight [width, rows] of its own, and say which those are."""
    _fold_transposes(model)
    weights = {one.name: one for one in model.graph.initializer}
    tables = [name for name in _tables(model) if name in weights]
    heads = [
        node.input[1]
        for node in model.graph.node
        if node.op_type in {"MatMul", "Gemm"} and node.input[1] in weights
    ]
    return tuple(
        Tie(table, head)
        for table in dict.fromkeys(tables)
        for head in dict.fromkeys(heads)
        if head != table and _is_transposed(weights[table], weights[head])
    )


def separate_recurrent(model: graph.Model) -> None:
    """Give every LSTM weights of its own: ONNX Runtime's quantiser changes them in place."""
    weights = {one.name: one for one in model.graph.initializer}
    seen: set[str] = set()
    for node in model.graph.node:
        for position in (1, 2) if node.op_type == "LSTM" else ():
            name = node.input[position]
            if name in seen and name in weights:
                node.input[position] = f"{name}_{node.name}"
                copy = model.graph.initializer.add()
                copy.CopyFrom(weights[name])
                copy.name = node.input[position]
            seen.add(name)


def join(model: graph.Model, ties: tuple[Tie, ...]) -> None:
    """Store each tie's numbers once, as FP32 or as the INT8 that its head became."""
    for tie in ties:
        names = {one.name for one in model.graph.initializer}
        small = f"{tie.table}_quantized", f"{tie.head}_quantized"
        if names.issuperset(small):
            _transpose(model, *small)
        elif small[1] in names:
            _join_quantised(model, tie)
        elif {tie.table, tie.head} <= names:
            _transpose(model, tie.table, tie.head)


def tied_look_ups(model: graph.Model, ties: tuple[Tie, ...]) -> list[str]:
    """Names of the Gather nodes that read a tied table: not a quantiser's business."""
    tables = {tie.table for tie in ties}
    return [node.name for node in _look_ups(model) if node.input[0] in tables]


def look_up(model: graph.Model, node: Any, quantised: str, scale: str, *, rank: int) -> None:
    """Let the Gather `node` (of axis 0) read an INT8 table that has a scale for each row."""
    import onnx

    output, indices, name = node.output[0], node.input[1], f"{node.name}_look_up"
    found, scaled, axes = f"{name}_rows", f"{name}_scale", f"{name}_axes"
    after = list(model.graph.node).index(node) + 1
    node.input[0], node.output[0] = quantised, found
    model.graph.initializer.append(onnx.numpy_helper.from_array(_trailing_axes(rank), axes))
    make = onnx.helper.make_node
    added = [
        make("Gather", [scale, indices], [scaled], name=scaled),
        make("Unsqueeze", [scaled, axes], [f"{scaled}s"], name=f"{scaled}s"),
        make("Cast", [found], [f"{found}_cast"], name=f"{found}_cast", to=1),
        make("Mul", [f"{found}_cast", f"{scaled}s"], [output], name=f"{name}_Mul"),
    ]
    for offset, one in enumerate(added):
        model.graph.node.insert(after + offset, one)


def _trailing_axes(rank: int) -> NDArray[np.int64]:
    import numpy as np

    return np.arange(1 - rank, 0, dtype=np.int64)


def _look_ups(model: graph.Model) -> list[Any]:
    return [
        node
        for node in model.graph.node
        if node.op_type == "Gather"
        and not any(one.name == "axis" and one.i for one in node.attribute)
    ]


def _tables(model: graph.Model) -> list[str]:
    return [node.input[0] for node in _look_ups(model)]


def _is_transposed(table: Any, head: Any) -> bool:
    import numpy as np
    import onnx

    if len(table.dims) != 2 or list(table.dims) != list(head.dims)[::-1]:
        return False
    rows, columns = onnx.numpy_helper.to_array(table), onnx.numpy_helper.to_array(head)
    return bool(np.array_equal(rows, columns.T))


def _fold_transposes(model: graph.Model) -> None:
    """Make constants of transposed weights, and of a shared one that a Gemm transposes itself."""
    weights = {one.name: one for one in model.graph.initializer}
    readers = Counter(name for node in graph.nodes(model.graph) for name in node.input)
    kept, left = [], set()
    for node in model.graph.node:
        if node.op_type == "Transpose" and node.input[0] in weights and _is_matrix(weights, node):
            left.add(node.input[0])
            _add_transposed(model, weights[node.input[0]], node.output[0])
            continue
        if node.op_type == "Gemm" and node.input[1] in weights and readers[node.input[1]] > 1:
            left.add(node.input[1])
            _untranspose(model, node, weights[node.input[1]])
        kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    for name in left:
        _drop_unread(model, name)


def _is_matrix(weights: dict[str, Any], node: Any) -> bool:
    weight = weights[node.input[0]]
    return len(weight.dims) == 2 and len(weight.raw_data) >= SMALL


def _untranspose(model: graph.Model, node: Any, weight: Any) -> None:
    for attribute in node.attribute:
        if attribute.name == "transB" and attribute.i:
            # ONNX Runtime transposes the weight in place, as if nothing else read it.
            attribute.i = 0
            node.input[1] = f"{weight.name}_transposed"
            if node.input[1] not in {one.name for one in model.graph.initializer}:
                _add_transposed(model, weight, node.input[1])


def _add_transposed(model: graph.Model, weight: Any, name: str) -> None:
    import numpy as np
    import onnx

    values = np.ascontiguousarray(onnx.numpy_helper.to_array(weight).T)
    model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))


def _join_quantised(model: graph.Model, tie: Tie) -> None:
    """One INT8 table [rows, width]: the head transposes it, look-ups scale the rows they find."""
    import numpy as np
    import onnx

    weights = {one.name: one for one in model.graph.initializer}
    head = weights[f"{tie.head}_quantized"]
    shared = f"{tie.table}_shared"
    values = onnx.numpy_helper.to_array(head).T
    scale = onnx.numpy_helper.to_array(weights[f"{tie.head}_scale"])
    rows = np.ascontiguousarray(np.broadcast_to(scale, values.shape[:1]))
    stored = np.ascontiguousarray(values)
    model.graph.initializer.append(onnx.numpy_helper.from_array(stored, shared))
    model.graph.initializer.append(onnx.numpy_helper.from_array(rows, f"{shared}_scale"))
    _transpose(model, shared, head.name)
    for node in _look_ups(model):
        if node.input[0] == tie.table:
            look_up(model, node, shared, f"{shared}_scale", rank=2)
    _drop_unread(model, tie.table)


def _transpose(model: graph.Model, source: str, target: str) -> None:
    import onnx

    _remove(model, {target})
    model.graph.node.insert(
        0,
        onnx.helper.make_node(
            "Transpose", [source], [target], name=f"{target}_Transpose", perm=[1, 0]
        ),
    )


def _drop_unread(model: graph.Model, name: str) -> None:
    if not any(name in node.input for node in graph.nodes(model.graph)):
        _remove(model, {name})


def _remove(model: graph.Model, names: set[str]) -> None:
    kept = [one for one in model.graph.initializer if one.name not in names]
    if len(kept) < len(model.graph.initializer):
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
