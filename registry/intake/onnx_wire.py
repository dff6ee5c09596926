"""Reads an ONNX file's own words by the standard library: inputs, outputs, operators, weights.

Numbers of fields are those of onnx/onnx.proto. Only what an inspector asks is read; weights are
counted, never copied. Nothing here runs a model.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from registry.intake.wire import DamagedError, Wire, integer, message, packed, text

__all__ = ["FLOAT", "DamagedError", "External", "Model", "Value", "read_model"]

FLOAT = 1
"""TensorProto.DataType of float32."""

BITS = {
    **dict.fromkeys((7, 11, 13, 14), 64),
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((21, 22, 23), 4),
    **dict.fromkeys((25, 26), 2),
    15: 128,
}
"""Bits of an element by TensorProto.DataType; a text (8) has no size of its own."""

_EXTERNAL = 1  # TensorProto.DataLocation
_DEEPEST = 16  # graphs in graphs: no exporter nests so far, and Python's stack is finite
_MOST_DIMENSIONS = 64
_KNOWN = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
"""Fields of a ModelProto; another is another file's, behind or before."""


@dataclass(frozen=True)
class Value:
    """An input or an output of the graph; a dimension is a size, or a name where it is free."""

    name: str
    data_type: int
    dims: tuple[int | str, ...]


@dataclass(frozen=True)
class External:
    """Weights in another file: `length` bytes from `offset`; None is to its end.

    `nbytes` is what their type and shape ask for; None for a type without a size.
    """

    location: str
    offset: int = 0
    length: int | None = None
    tensor: str = ""
    nbytes: int | None = None


@dataclass
class Model:
    """What a model says of itself. `operators` are (domain, type), those of subgraphs included."""

    opsets: dict[str, int] = field(default_factory=dict)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    operators: set[tuple[str, str]] = field(default_factory=set)
    externals: list[External] = field(default_factory=list)
    functions: int = 0
    function_domains: set[str] = field(default_factory=set)
    training_graphs: int = 0
    parameters: int = 0
    initializers: set[str] = field(default_factory=set)


def read_model(content: bytes | memoryview) -> Model:
    """The model in `content`. Raises DamagedError when the bytes are cut short or are another's."""
    reader = _Reader(Wire(), Model())
    reader.read(memoryview(content))
    return reader.model


class _Reader:
    """Fills `model` from the messages of one file."""

    def __init__(self, wire: Wire, model: Model) -> None:
        self.wire = wire
        self.model = model

    def read(self, view: memoryview) -> None:
        """A ModelProto."""
        model, graphs = self.model, 0
        for number, value in self.wire.fields(view):
            if number not in _KNOWN:
                raise DamagedError(f"it holds a field {number}, which no ONNX model has")
            if number == 7:  # graph
                graphs += 1
                self._graph(message(value), depth=0)
            elif number == 8:  # opset_import
                domain, version = self._opset(message(value))
                model.opsets[domain] = version
            elif number == 20:
                self._training(message(value))
            elif number == 25:
                model.functions += 1
                self._function(message(value))
        if graphs != 1:
            raise DamagedError(f"it holds {graphs} graphs instead of one")
        if not model.opsets:
            raise DamagedError("it names no opset")
        model.inputs = [one for one in model.inputs if one.name not in model.initializers]

    def _training(self, view: memoryview) -> None:
        """A TrainingInfoProto: two graphs, whose weights may lie elsewhere as any graph's."""
        self.model.training_graphs += 1
        for part, graph in self.wire.fields(view):
            if part in {1, 2}:
                self._graph(message(graph), depth=1)

    def _opset(self, view: memoryview) -> tuple[str, int]:
        domain, version = "", 0
        for number, value in self.wire.fields(view):
            if number == 1:
                domain = text(value)
            elif number == 2:
                version = integer(value)
        return domain, version

    def _function(self, view: memoryview) -> None:
        """A FunctionProto: its body may hold weights and operators as a graph does."""
        for number, value in self.wire.fields(view):
            if number == 7:
                self._node(message(value), 1)
            elif number == 10:
                self.model.function_domains.add(text(value))
            elif number == 11:
                self._attribute(message(value), 1)

    def _graph(self, view: memoryview, depth: int) -> None:
        """A GraphProto; inputs and outputs are those of the outermost alone."""
        if depth > _DEEPEST:
            raise DamagedError(f"its graphs are nested more than {_DEEPEST} deep")
        model = self.model
        for number, value in self.wire.fields(view):
            if number == 1:  # node
                self._node(message(value), depth)
            elif number == 5:  # initializer
                model.initializers.add(self._tensor(message(value)))
            elif number == 15:  # sparse_initializer
                self._sparse(message(value))
            elif number == 11 and depth == 0:
                model.inputs.append(self._value_info(message(value)))
            elif number == 12 and depth == 0:
                model.outputs.append(self._value_info(message(value)))

    def _node(self, view: memoryview, depth: int) -> None:
        operator = domain = ""
        for number, value in self.wire.fields(view):
            if number == 4:
                operator = text(value)
            elif number == 7:
                domain = text(value)
            elif number == 5:
                self._attribute(message(value), depth)
        self.model.operators.add((domain, operator))

    def _attribute(self, view: memoryview, depth: int) -> None:
        for part, inner in self.wire.fields(view):
            if part in {5, 10}:  # a tensor, tensors
                self._tensor(message(inner))
            elif part in {6, 11}:  # a graph, graphs
                self._graph(message(inner), depth + 1)
            elif part in {22, 23}:  # a sparse tensor, sparse tensors
                self._sparse(message(inner))

    def _sparse(self, view: memoryview) -> None:
        for part, tensor in self.wire.fields(view):
            if part in {1, 2}:
                self._tensor(message(tensor))

    def _tensor(self, view: memoryview) -> str:
        """Count a TensorProto's elements, note where its bytes lie, and return its name."""
        name, data_type, dims, external = "", 0, list[int](), dict[str, str]()
        is_external, raw = False, None
        for number, value in self.wire.fields(view):
            if number == 1:  # one dimension, or all of them packed
                dims += [integer(value)] if isinstance(value, int) else packed(value)
            elif number == 2:
                data_type = integer(value)
            elif number == 8:
                name = text(value)
            elif number == 9:
                raw = len(message(value))
            elif number == 13:
                key, entry = self._entry(message(value))
                external[key] = entry
            elif number == 14:
                is_external = integer(value) == _EXTERNAL
        nbytes = self._count(name, data_type, dims)
        if is_external or external:
            self.model.externals.append(_external(name, external, nbytes))
        elif raw is not None and nbytes is not None and raw != nbytes:
            raise DamagedError(f"tensor {name!r} has {raw} bytes, its type and shape ask {nbytes}")
        return name

    def _count(self, name: str, data_type: int, dims: list[int]) -> int | None:
        """Add a tensor's elements; its bytes, or None for a type without a size."""
        if min(dims, default=0) < 0 or len(dims) > _MOST_DIMENSIONS:
            raise DamagedError(f"tensor {name!r} has a negative size, or too many")
        count = math.prod(dims)
        self.model.parameters += count
        return -(-count * BITS[data_type] // 8) if data_type in BITS else None

    def _entry(self, view: memoryview) -> tuple[str, str]:
        found = {number: text(value) for number, value in self.wire.fields(view)}
        return found.get(1, ""), found.get(2, "")

    def _value_info(self, view: memoryview) -> Value:
        name, data_type, dims = "", 0, tuple[int | str, ...]()
        for number, value in self.wire.fields(view):
            if number == 1:
                name = text(value)
            elif number == 2:  # type
                for part, tensor in self.wire.fields(message(value)):
                    if part == 1:  # tensor_type; anything else keeps data_type 0
                        data_type, dims = self._tensor_type(message(tensor))
        return Value(name, data_type, dims)

    def _tensor_type(self, view: memoryview) -> tuple[int, tuple[int | str, ...]]:
        data_type, dims = 0, list[int | str]()
        for number, value in self.wire.fields(view):
            if number == 1:
                data_type = integer(value)
            elif number == 2:  # shape
                inner = self.wire.fields(message(value))
                dims += [self._dim(message(dim)) for part, dim in inner if part == 1]
        return data_type, tuple(dims)

    def _dim(self, view: memoryview) -> int | str:
        size: int | str = ""
        for number, value in self.wire.fields(view):
            size = integer(value) if number == 1 else text(value) if number == 2 else size
        return size


def _external(name: str, entries: dict[str, str], nbytes: int | None) -> External:
    try:
        length = entries.get("length")
        return External(
            entries.get("location", ""),
            _place(entries.get("offset", "0")),
            None if length is None else _place(length),
            name,
            nbytes,
        )
    except ValueError as error:
        raise DamagedError(f"tensor {name!r} lies outside the file at no place") from error


def _place(digits: str) -> int:
    """A number that every reader reads alike: ASCII digits alone."""
    if not re.fullmatch(r"-?[0-9]{1,20}", digits):
        raise ValueError(digits)
    return int(digits)
