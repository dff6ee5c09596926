"""Bytes of sound files, made by hand, that attacks start from and benign layouts consist of."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HDF5 = json.loads(Path(__file__).with_name("hdf5_files.json").read_text())
WIDTHS = {"F32": 4, "F16": 2, "I64": 8, "U8": 1, "BOOL": 1, "BF16": 2}
CONFIG = {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]}


class Payload:
    """Unpickled, it makes the canary file: proof that something ran."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def pickled(canary: Path, protocol: int = 2) -> bytes:
    """A pickle that makes `canary` when it is opened."""
    return pickle.dumps(Payload(canary), protocol)


def hdf5(name: str) -> bytes:
    """One of the files that h5py wrote."""
    return zlib.decompress(base64.b85decode(HDF5[name]))


def safetensors(
    header: Mapping[str, Any] | str | None = None, data: bytes = bytes(24), behind: bytes = b""
) -> bytes:
    """A safetensors file; without a header, one of two tensors in 24 bytes."""
    if header is None:
        header = {
            "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
            "b": {"dtype": "F16", "shape": [4], "data_offsets": [16, 24]},
        }
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return len(text).to_bytes(8, "little") + text + data + behind


def varint(value: int) -> bytes:
    """A protobuf number."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | str | bytes) -> bytes:
    """One field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name: str, dims: tuple[int, ...], external: Mapping[str, str] | None = None) -> bytes:
    """A float32 TensorProto with its bytes, or with where they lie."""
    content = b"".join(field(1, size) for size in dims) + field(2, 1) + field(8, name)
    if external is None:
        return content + field(9, bytes(4 * math.prod(dims)))
    entries = (field(13, field(1, key) + field(2, text)) for key, text in external.items())
    return content + b"".join(entries) + field(14, 1)


def node(operator: str, domain: str = "", attributes: bytes = b"") -> bytes:
    """A NodeProto of one input."""
    return field(1, "x") + field(4, operator) + attributes + field(7, domain)


def onnx(
    *,
    nodes: tuple[bytes, ...] = (),
    weights: tuple[bytes, ...] = (),
    extra: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """An ONNX model; `extra` is more of its graph, `after` more of the model."""
    graph = b"".join(field(1, one) for one in nodes or (node("MatMul"),)) + field(2, "main")
    graph += b"".join(field(5, one) for one in weights or (tensor("w", (3,)),)) + extra
    opset = field(8, field(1, "") + field(2, 17))
    return field(1, 8) + field(2, "test") + field(7, graph) + opset + after


def layer(name: str, **changes: Any) -> dict[str, Any]:
    """A layer of a Keras 3 configuration."""
    return {
        "module": "keras.layers",
        "class_name": name,
        "config": {"name": name.lower(), "units": 4, "activation": "relu"},
        "registered_name": None,
    } | changes


def keras_config(*layers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A Sequential of these layers."""
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [layer("InputLayer"), *layers]},
        "registered_name": "Sequential",
    } | changes


def keras_entries(config: Any = None, weights: bytes | None = None) -> dict[str, bytes]:
    """What is in a `.keras` file, by name."""
    return {
        "metadata.json": b'{"keras_version": "3.15.1"}',
        "config.json": json.dumps(config or keras_config(layer("Dense"))).encode(),
        "model.weights.h5": hdf5("plain") if weights is None else weights,
    }


def zipped(entries: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A ZIP of these entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


def torch_archive(canary: Path) -> bytes:
    """A PyTorch file of the form since 1.6: a ZIP with a pickle."""
    return zipped({"archive/data.pkl": pickled(canary), "archive/version": b"3\n"})


def openvino_xml(
    *, before: str = "", offset: int = 0, size: int = 16, version: str = "opset1"
) -> str:
    """An IR with one constant of four float32."""
    return (
        f'<?xml version="1.0"?>{before}<net name="n" version="11"><layers>'
        f'<layer id="0" name="w" type="Const" version="{version}">'
        f'<data element_type="f32" shape="4" offset="{offset}" size="{size}"/>'
        "<output><port id='0'><dim>4</dim></port></output></layer></layers><edges/></net>"
    )


def sentencepiece(*pieces: str) -> bytes:
    """A SentencePiece model of these pieces."""
    return b"".join(field(1, field(1, piece) + b"\x15\0\0\0\0" + field(3, 1)) for piece in pieces)


def write(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    """Write files by their path below `folder`."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def model(folder: Path) -> Path:
    """A folder of sound files."""
    return write(
        folder,
        {
            "config.json": json.dumps(CONFIG),
            "model.safetensors": safetensors(),
            "tokenizer.json": '{"model": {"vocab": {"a": 0}}}',
            "README.md": "# A model\n",
        },
    )
