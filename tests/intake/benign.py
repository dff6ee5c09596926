"""Layouts that must come in: every kind's bare checkpoint, and odd but legal ones."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..conversion import checkpoints, ctc_checkpoints, text_checkpoints
from .builders import (
    CONFIG,
    field,
    hdf5,
    keras_config,
    keras_entries,
    layer,
    model,
    node,
    onnx,
    openvino_xml,
    safetensors,
    sentencepiece,
    tensor,
    write,
    zipped,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[[Path], "Path | None"]

TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim }}{% endfor %}"


@dataclass(frozen=True)
class Layout:
    """A folder that does not exist yet, filled by `make`, or an archive that it returns."""

    name: str
    make: Make


def _bare(name: str, make: Callable[[Path], object]) -> Layout:
    def fill(folder: Path) -> None:
        make(folder)

    return Layout(name, fill)


def _files(name: str, files: dict[str, bytes | str]) -> Layout:
    def fill(folder: Path) -> None:
        write(model(folder), files)

    return Layout(name, fill)


def _sharded(folder: Path) -> None:
    write(folder, {"config.json": json.dumps(CONFIG)})
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name, letter in zip(names, "ab", strict=True):
        header = {letter: {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}
        write(folder, {name: safetensors(header, bytes(4))})
    index = {"metadata": {"total_size": 8}, "weight_map": dict(zip("ab", names, strict=True))}
    write(folder, {"model.safetensors.index.json": json.dumps(index)})


def _openvino(folder: Path) -> None:
    write(folder, {"model.xml": openvino_xml(offset=64), "model.bin": bytes(80)})


def _external(folder: Path) -> None:
    """Two tensors in one file, the second on the next page, as exporters lay them out."""
    weights = (
        tensor("a", (3,), {"location": "model.onnx_data", "offset": "0", "length": "12"}),
        tensor("b", (2,), {"location": "./model.onnx_data", "offset": "4096"}),
        tensor("c", (2,), {"location": "model.onnx_data", "offset": "4096", "length": "8"}),
    )
    write(folder, {"model.onnx": onnx(weights=weights), "model.onnx_data": bytes(4104)})


def _functions(folder: Path) -> None:
    """As torch.onnx writes by dynamo: operators of its own, each defined in the file."""
    function = field(1, "rms") + field(7, node("Mul")) + field(10, "pkg.torch")
    nodes = (node("rms", "pkg.torch"), node("Gelu", "com.microsoft"))
    write(folder, {"model.onnx": onnx(nodes=nodes, after=field(25, function))})


def _tar(folder: Path, form: int, name: str) -> Path:
    model(folder / "model")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        archive.add(folder / "model", arcname=name)
    return write(folder, {"model.tar": out.getvalue()}) / "model.tar"


def _long_names(folder: Path) -> Path:
    return _tar(folder, tarfile.GNU_FORMAT, "n" * 120)


def _pax(folder: Path) -> Path:
    plain = _tar(folder, tarfile.PAX_FORMAT, "modèle/" + "n" * 120)
    target = plain.with_name("model.tar.gz")
    # Two gzip members, as pigz and cat leave them.
    content = plain.read_bytes()
    target.write_bytes(gzip.compress(content[:700]) + gzip.compress(content[700:]))
    return target


def _dotted(folder: Path) -> Path:
    return _tar(folder, tarfile.USTAR_FORMAT, ".")


def _zstd(folder: Path) -> Path:
    import pyarrow as pa

    plain = _tar(folder, tarfile.PAX_FORMAT, "model")
    target = plain.with_name("model.tar.zst")
    target.write_bytes(pa.compress(plain.read_bytes(), "zstd", asbytes=True))
    return target


def _zip(folder: Path) -> Path:
    entries: dict[str, bytes] = {
        "m/": b"",
        "m/config.json": b"{}",
        "m/model.safetensors": safetensors(),
    }
    return write(folder, {"m.zip": zipped(entries, zipfile.ZIP_DEFLATED)}) / "m.zip"


def _streamed_zip(folder: Path) -> Path:
    """As programs write that cannot go back: sizes behind the data, and 64 bits wide."""

    class Forward(io.RawIOBase):
        def __init__(self) -> None:
            self.content = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            content = bytes(memoryview(data))  # type: ignore[arg-type]  # whatever zipfile writes
            self.content += content
            return len(content)

    out = Forward()
    with (
        zipfile.ZipFile(out, "w") as archive,
        archive.open("config.json", "w", force_zip64=True) as entry,
    ):
        entry.write(b"{}")
    return write(folder, {"m.zip": bytes(out.content)}) / "m.zip"


def _keras(name: str, config: object, method: int = zipfile.ZIP_STORED) -> Layout:
    def fill(folder: Path) -> None:
        entries = keras_entries(config)
        write(folder, {"model.keras": zipped(entries, method), "vocabulary.json": "{}"})

    return Layout(f"Keras: {name}", fill)


_COMPILED = {
    "optimizer": {
        "module": "keras.optimizers",
        "class_name": "Adam",
        "config": {"learning_rate": 0.001},
        "registered_name": None,
    },
    "loss": "sparse_categorical_crossentropy",
    "metrics": ["accuracy"],
}

_OWN_LOSS = {
    "optimizer": "adam",
    "loss": {
        "module": "builtins",
        "class_name": "function",
        "config": "ctc_loss",
        "registered_name": "function",
    },
    "metrics": ["my>word_errors"],
}

LAYOUTS: tuple[Layout, ...] = (
    _bare("bare Whisper", checkpoints.write_bare),
    _bare("bare CTC over a Whisper encoder", ctc_checkpoints.write_bare),
    _bare("bare wav2vec2", lambda folder: ctc_checkpoints.write_bare(folder, "wav2vec2")),
    _bare("bare Marian", text_checkpoints.write_marian),
    _bare("bare T5", text_checkpoints.write_t5),
    _bare("bare Qwen2", text_checkpoints.write_qwen2),
    _bare("sharded safetensors with an index", _sharded),
    _bare("OpenVINO IR with padding", _openvino),
    _bare("ONNX with weights on pages of another file", _external),
    _bare("ONNX with functions of its own", _functions),
    _keras("compiled", keras_config(layer("Dense"), compile_config=_COMPILED)),
    _keras("compiled with a loss of its own", keras_config(compile_config=_OWN_LOSS)),
    _keras("deflated", None, zipfile.ZIP_DEFLATED),
    _files("HDF5 of Keras 2", {"model.h5": hdf5("keras2")}),
    _files("HDF5 of Keras 2 with a text of fixed length", {"model.h5": hdf5("keras2-fixed")}),
    _files("HDF5 whose links lead back up", {"model.h5": hdf5("cycle")}),
    _files("HDF5 of the newer form", {"model.h5": hdf5("latest")}),
    _files("folders in folders", {"onnx/encoder/model.onnx": onnx(), "onnx/config.json": "{}"}),
    _files("names of other scripts", {"mô-hình/từ-vựng.txt": "xin chào\n", "モデル.json": "[]"}),
    _files("empty JSON values", {"added_tokens.json": "{}", "vocab.json": "[]"}),
    _files("JSON with a byte order mark", {"vocab.json": "\ufeff{}"}),
    _files("text with a byte order mark and Windows lines", {"README.md": "\ufeffHallo\r\n"}),
    _files("empty text", {"README.md": "", "LICENSE": ""}),
    _files(
        "right-to-left text",
        {"README.md": "\N{ARABIC LETTER MEEM}\N{RIGHT-TO-LEFT MARK}\N{HEBREW LETTER SHIN}\n"},
    ),
    _files("text of a form feed and tabs", {"LICENSE.txt": "a\tb\f\n"}),
    _files(
        "vocabulary of opcodes", {"vocab.txt": "c\nat\nR\n.\n(\nI1\n", "merges.txt": "c a\nR .\n"}
    ),
    _files("text that begins as a pickle would", {"README.md": "Vision\n\n(see below)\n.\n"}),
    _files("token called auto_map", {"vocab.json": '{"auto_map": 1, "_target_": 2}'}),
    _files("chat template", {"chat_template.jinja": TEMPLATE}),
    _files("settings", {"tokenizer_config.json": json.dumps({"chat_template": TEMPLATE})}),
    _files("tokenizer of pieces", {"tokenizer.model": sentencepiece("<unk>", "▁a")}),
    _files("JSON that holds NaN", {"preprocessor_config.json": '{"floor": NaN}'}),
    _files("git attributes", {".gitattributes": "*.bin filter=lfs\n"}),
    _files(
        "tensors without elements",
        {
            "model.safetensors": safetensors(
                {
                    "none": {"dtype": "F32", "shape": [0, 4], "data_offsets": [0, 0]},
                    "one": {"dtype": "BF16", "shape": [], "data_offsets": [0, 2]},
                    "__metadata__": {"format": "pt"},
                },
                bytes(2),
            )
        },
    ),
    _files("safetensors without tensors", {"model.safetensors": safetensors({}, b"")}),
    _files("padded header", {"model.safetensors": safetensors("{}" + " " * 4094, b"")}),
    _files(
        "header of many tensors",
        {
            "model.safetensors": safetensors(
                {
                    f"layer.{n}": {"dtype": "U8", "shape": [1], "data_offsets": [n, n + 1]}
                    for n in range(5_000)
                },
                bytes(5_000),
            )
        },
    ),
    Layout("tar with long names", _long_names),
    Layout("tar of pax headers in two gzip members", _pax),
    Layout("tar of the folder itself", _dotted),
    Layout("tar in zstd", _zstd),
    Layout("ZIP with a folder", _zip),
    Layout("ZIP that was streamed", _streamed_zip),
)
