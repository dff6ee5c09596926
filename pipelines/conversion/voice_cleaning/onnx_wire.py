"""Reads an ONNX file's own words by the standard library: inputs, outputs, operators, weights.

Protocol buffers' wire format is a sequence of fields: a tag (number and wire type) and a value
(protobuf.dev/programming-guides/encoding). Numbers of fields are those of onnx/onnx.proto. Only
what an inspector asks is read; weights are counted, never copied. Nothing here runs a model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOAT = 1
"""TensorProto.DataType of float32."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL = 1  # TensorProto.DataLocation
_DEEPEST = 16  # graphs in graphs: no exporter nests so far, and Python's stack is finite


class DamagedError(ValueError):
    """The bytes are no ONNX model."""


@dataclass(frozen=True)
class Value:
    """An input or an output of the graph; a dimension is a size, or a name where it is free."""

    name: str
    data_type: int
    dims: tuple[int | str, ...]


@dataclass(frozen=True)
class External:
    """Weights in another file: `length` bytes from `offset`; None is to its end."""

    location: str
    offset: int = 0
    length: int | None = None


@dataclass
class Model:
    """What a model says of itself. `operators` are (domain, type), those of subgraphs included."""

    opsets: dict[str, int] = field(default_factory=dict)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    operators: set[tuple[str, str]] = field(default_factory=set)
    externals: list[External] = field(default_factory=list)
    functions: int = 0
    parameters: int = 0
    initializers: set[str] = field(default_factory=set)


def read_model(content: bytes) -> Model:
    """The model in `content`. Raises DamagedError when the bytes are cut short or are another's."""
    model = Model()
    graphs = 0
    for number, value in _fields(memoryview(content)):
        if number == 7:  # graph
            graphs += 1
            _read_graph(_message(value), model, depth=0)
        elif number == 8:  # opset_import
            domain, version = _opset(_message(value))
            model.opsets[domain] = version
        elif number == 25:  # functions
            model.functions += 1
    if graphs != 1:
        raise DamagedError(f"it holds {graphs} graphs instead of one")
    if not model.opsets:
        raise DamagedError("it names no opset")
    model.inputs = [one for one in model.inputs if one.name not in model.initializers]
    return model


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values: an integer, or the bytes of a text, message or packed list."""
    at = 0
    while at < len(view):
        tag, at = _varint(view, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(view, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(view, at)
        elif kind in {_FIXED64, _FIXED32}:
            size = 8 if kind == _FIXED64 else 4
        else:
            raise DamagedError(f"it holds a field of wire type {kind}")
        if not number or at + size > len(view):
            raise DamagedError("a field reaches beyond its end")
        yield number, view[at : at + size]
        at += size


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise DamagedError("it ends within a number")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise DamagedError("a number takes more than ten bytes")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise DamagedError("a number stands where a message belongs")
    return value


def _text(value: int | memoryview) -> str:
    try:
        return bytes(_message(value)).decode()
    except UnicodeDecodeError as error:
        raise DamagedError("a name is not UTF-8") from error


def _integer(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise DamagedError("bytes stand where a number belongs")
    return value - (1 << 64) if value >> 63 else value


def _opset(view: memoryview) -> tuple[str, int]:
    domain, version = "", 0
    for number, value in _fields(view):
        if number == 1:
            domain = _text(value)
        elif number == 2:
            version = _integer(value)
    return domain, version


def _read_graph(view: memoryview, model: Model, depth: int) -> None:
    """Add a GraphProto to `model`; inputs and outputs are those of the outermost alone."""
    if depth > _DEEPEST:
        raise DamagedError(f"its graphs are nested more than {_DEEPEST} deep")
    for number, value in _fields(view):
        if number == 1:  # node
            _read_node(_message(value), model, depth)
        elif number == 5:  # initializer
            model.initializers.add(_read_tensor(_message(value), model))
        elif number == 15:  # sparse_initializer
            for part, tensor in _fields(_message(value)):
                if part in {1, 2}:
                    _read_tensor(_message(tensor), model)
        elif number == 11 and depth == 0:
            model.inputs.append(_value_info(_message(value)))
        elif number == 12 and depth == 0:
            model.outputs.append(_value_info(_message(value)))


def _read_node(view: memoryview, model: Model, depth: int) -> None:
    operator = domain = ""
    for number, value in _fields(view):
        if number == 4:
            operator = _text(value)
        elif number == 7:
            domain = _text(value)
        elif number == 5:  # attribute
            for part, inner in _fields(_message(value)):
                if part in {5, 10}:  # a tensor, tensors
                    _read_tensor(_message(inner), model)
                elif part in {6, 11}:  # a graph, graphs
                    _read_graph(_message(inner), model, depth + 1)
    model.operators.add((domain, operator))


def _read_tensor(view: memoryview, model: Model) -> str:
    """Count a TensorProto's elements, note where its bytes lie, and return its name."""
    name, dims, external = "", list[int](), dict[str, str]()
    is_external = False
    for number, value in _fields(view):
        if number == 1:  # one dimension, or all of them packed
            dims += [_integer(value)] if isinstance(value, int) else _packed(value)
        elif number == 8:
            name = _text(value)
        elif number == 13:
            key, text = _entry(_message(value))
            external[key] = text
        elif number == 14:
            is_external = _integer(value) == _EXTERNAL
    if min(dims, default=0) < 0:
        raise DamagedError(f"tensor {name!r} has a negative size")
    model.parameters += math.prod(dims)
    if is_external or external:
        model.externals.append(_external(name, external))
    return name


def _external(name: str, entries: dict[str, str]) -> External:
    try:
        length = entries.get("length")
        return External(
            entries.get("location", ""),
            int(entries.get("offset", "0")),
            None if length is None else int(length),
        )
    except ValueError as error:
        raise DamagedError(f"tensor {name!r} lies outside the file at no place") from error


def _packed(view: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(view):
        value, at = _varint(view, at)
        values.append(_integer(value))
    return values


def _entry(view: memoryview) -> tuple[str, str]:
    found = {number: _text(value) for number, value in _fields(view)}
    return found.get(1, ""), found.get(2, "")


def _value_info(view: memoryview) -> Value:
    name, data_type, dims = "", 0, tuple[int | str, ...]()
    for number, value in _fields(view):
        if number == 1:
            name = _text(value)
        elif number == 2:  # type
            for part, tensor in _fields(_message(value)):
                if part == 1:  # tensor_type; anything else keeps data_type 0
                    data_type, dims = _tensor_type(_message(tensor))
    return Value(name, data_type, dims)


def _tensor_type(view: memoryview) -> tuple[int, tuple[int | str, ...]]:
    data_type, dims = 0, list[int | str]()
    for number, value in _fields(view):
        if number == 1:
            data_type = _integer(value)
        elif number == 2:  # shape
            dims += [_dim(_message(dim)) for part, dim in _fields(_message(value)) if part == 1]
    return data_type, tuple(dims)


def _dim(view: memoryview) -> int | str:
    size: int | str = ""
    for number, value in _fields(view):
        size = _integer(value) if number == 1 else _text(value) if number == 2 else size
    return size
