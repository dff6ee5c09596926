"""Weights whose own words lie: safetensors, ONNX with weights beside it, OpenVINO IR."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from .builders import (
    field,
    model,
    node,
    onnx,
    openvino_xml,
    pickled,
    safetensors,
    tensor,
    torch_archive,
    write,
    zipped,
)
from .corpus import attack

if TYPE_CHECKING:
    from pathlib import Path

AUDIT = "safetensors audit (Trail of Bits, 2023)"
XML_BOMB = '<!DOCTYPE n [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;"><!ENTITY c "&b;&b;">]>'
XXE = '<!DOCTYPE n [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


def _one(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]} | changes}


def _safetensors(name: str, source: str, said: str, content: bytes) -> None:
    @attack(f"safetensors: {name}", source, said)
    def make(folder: Path, canary: Path) -> None:
        del canary
        write(model(folder), {"model.safetensors": content})


def _overlapping() -> dict[str, Any]:
    return _one() | {"b": {"dtype": "F32", "shape": [6], "data_offsets": [12, 36]}}


for _name, _source, _said, _content in (
    (
        "header of 2^62 bytes",
        AUDIT,
        "has a header that claims",
        (1 << 62).to_bytes(8, "little") + b"{}",
    ),
    (
        "header longer than the file",
        "CWE-125",
        "its header claims 4096 bytes",
        (4096).to_bytes(8, "little") + b"{}",
    ),
    ("tensors that overlap", AUDIT, "overlap", safetensors(_overlapping(), bytes(36))),
    (
        "hole before a tensor",
        AUDIT,
        "there is a hole of 8 bytes",
        safetensors(_one(data_offsets=[8, 32]), bytes(32)),
    ),
    (
        "type and offsets that differ",
        "CWE-125",
        "its type and shape ask for 12",
        safetensors(_one(dtype="F16")),
    ),
    (
        "unknown type",
        "CWE-20",
        "has the unknown type",
        safetensors(_one(dtype="OBJECT")),
    ),
    (
        "negative size",
        "CWE-190",
        "a size or an offset that is no count",
        safetensors(_one(shape=[-6, -1])),
    ),
    (
        "sizes whose product overflows",
        "CWE-190",
        "is larger than any file",
        safetensors(_one(shape=[1 << 62, 1 << 62])),
    ),
    (
        "repeated name",
        AUDIT,
        "it has the key 'a' twice",
        safetensors('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}'),
    ),
    (
        "header nested 100,000 deep",
        "CWE-674",
        "is nested too deeply",
        safetensors('{"a":' * 100_000),
    ),
    (
        "metadata that is no text",
        "CWE-20",
        "its __metadata__ is not texts",
        safetensors(_one() | {"__metadata__": {"format": ["pt"]}}),
    ),
    ("cut short", "CWE-125", "bytes missing from its last tensor", safetensors(None, bytes(20))),
    (
        "PDF in the metadata",
        "CWE-434",
        "is a PDF as well",
        safetensors({"__metadata__": {"x": "%PDF-1.7"}} | _one()),
    ),
):
    _safetensors(_name, _source, _said, _content)


@attack("safetensors: ZIP behind the last tensor", AUDIT, "is a ZIP archive as well")
def zip_behind(folder: Path, canary: Path) -> None:
    write(model(folder), {"model.safetensors": safetensors(behind=torch_archive(canary))})


@attack("safetensors: ZIP inside the last tensor", AUDIT, "is a ZIP archive as well")
def zip_inside(folder: Path, canary: Path) -> None:
    data = torch_archive(canary)
    header = {"a": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}
    write(model(folder), {"model.safetensors": safetensors(header, data)})


@attack("safetensors: tar header in the metadata", AUDIT, "is a tar archive")
def tar_as_well(folder: Path, canary: Path) -> None:
    """Text whose bytes 148 to 156 are the check sum of the file's first 512."""
    del canary
    text = json.dumps({"__metadata__": {"x": "x" * 600}} | _one()).encode()
    content = bytearray(len(text).to_bytes(8, "little") + text + bytes(24))
    total = sum(content[:512]) - sum(content[148:156]) + 8 * 32
    content[148:156] = f"{total:07o} ".encode()
    write(model(folder), {"model.safetensors": bytes(content)})


@attack("safetensors: pickle behind the last tensor", "CWE-502", "bytes behind its last tensor")
def pickle_behind(folder: Path, canary: Path) -> None:
    write(model(folder), {"model.safetensors": safetensors(behind=pickled(canary))})


@attack("index that names a file elsewhere", "CWE-22", "names the file '../../secret'")
def index_elsewhere(folder: Path, canary: Path) -> None:
    del canary
    index = {"weight_map": {"a": "../../secret"}}
    write(model(folder), {"model.safetensors.index.json": json.dumps(index)})


def _onnx(name: str, source: str, said: str, content: bytes, data: bytes = bytes(12)) -> None:
    @attack(f"ONNX: {name}", source, said)
    def make(folder: Path, canary: Path) -> None:
        del canary
        write(folder, {"model.onnx": content, "model.onnx.data": data, "enhancement.json": "{}"})


def _away(location: str, **more: str) -> bytes:
    return onnx(weights=(tensor("w", (3,), {"location": location, **more}),))


def _nested(depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = field(1, node("If", "", field(5, field(6, inner))))
    return onnx(extra=inner)


_HIDDEN = tensor("w", (3,), {"location": "../away"})
for _name, _source, _said, _content in (
    ("weights in ../", "CVE-2022-25882", "which has a path that leaves", _away("../../etc/shadow")),
    ("weights in a/../../", "CVE-2024-27318", "which has a path that leaves", _away("a/../../x")),
    ("weights at an absolute path", "CVE-2022-25882", "has an absolute path", _away("/etc/passwd")),
    ("weights by a backslash", "CWE-22", "which has a path that leaves", _away("..\\secret")),
    ("weights that are not there", "CWE-20", "which is not there", _away("other.data")),
    ("weights in another format's file", "CWE-843", "of another format", _away("enhancement.json")),
    ("weights in the model itself", "CWE-20", "keeps weights in itself", _away("model.onnx")),
    (
        "weights behind the end",
        "CWE-125",
        "in bytes 8 to 20, it has 12",
        _away("model.onnx.data", offset="8"),
    ),
    (
        "negative offset",
        "CWE-125",
        "lie at no place",
        _away("model.onnx.data", offset="-4"),
    ),
    (
        "weights of another size",
        "CWE-125",
        "its type and shape ask 12",
        _away("model.onnx.data", length="4"),
    ),
    (
        "weights elsewhere, in a function",
        "CVE-2022-25882",
        "which has a path that leaves",
        onnx(after=field(25, field(7, node("Constant", "", field(5, field(5, _HIDDEN)))))),
    ),
    (
        "weights elsewhere, in a sparse attribute",
        "CVE-2022-25882",
        "which has a path that leaves",
        onnx(nodes=(node("Constant", "", field(5, field(22, field(1, _HIDDEN)))),)),
    ),
    (
        "operator from a library",
        "CWE-114",
        "needs the operator 'Run' of 'evil.ops'",
        onnx(nodes=(node("Run", "evil.ops"),)),
    ),
    ("graphs nested 300 deep", "CVE-2025-4565", "nested more than", _nested(300)),
    ("training graph", "CWE-20", "holds a training graph", onnx(after=field(20, b""))),
    ("a second model behind it", "CWE-436", "it holds 2 graphs", onnx() * 2),
    (
        "unknown field at the end",
        "CWE-436",
        "holds a field 99",
        onnx(after=field(99, b"payload")),
    ),
    ("cut short", "CWE-125", "a field reaches beyond its end", onnx()[:-4]),
    (
        "dimensions without end",
        "CWE-400",
        "more dimensions than any tensor",
        onnx(weights=(field(1, b"\1" * 4096) + field(2, 1),)),
    ),
):
    _onnx(_name, _source, _said, _content)

_onnx(
    "ZIP behind the model",
    "CWE-434",
    "is a ZIP archive as well",
    onnx() + zipped({"data.pkl": b"."}),
)
_onnx(
    "bytes in the weights that no tensor names",
    "CWE-434",
    "bytes at its end that model.onnx never names",
    _away("model.onnx.data"),
    bytes(12) + b"payload",
)


@attack("ONNX: pickle as its weights", "CWE-502", "is a pickle, which runs code")
def pickle_as_weights(folder: Path, canary: Path) -> None:
    data = pickled(canary)
    data += bytes(-len(data) % 4)
    weights = tensor("w", (len(data) // 4,), {"location": "model.onnx.data"})
    write(folder, {"model.onnx": onnx(weights=(weights,)), "model.onnx.data": data})


@attack("ONNX: weights by a link", "CVE-2024-27318", "is a symbolic link")
def weights_by_link(folder: Path, canary: Path) -> None:
    secret = write(canary.parent, {"secret": bytes(12)}) / "secret"
    write(folder, {"model.onnx": _away("model.onnx.data")})
    (folder / "model.onnx.data").symlink_to(secret)


@attack("ONNX: weights by a hard link", "CWE-62", "has another name elsewhere (a hard link)")
def weights_by_hard_link(folder: Path, canary: Path) -> None:
    secret = write(canary.parent, {"secret": bytes(12)}) / "secret"
    write(folder, {"model.onnx": _away("model.onnx.data")})
    os.link(secret, folder / "model.onnx.data")


def _openvino(name: str, source: str, said: str, xml: str, data: bytes = bytes(16)) -> None:
    @attack(f"OpenVINO: {name}", source, said)
    def make(folder: Path, canary: Path) -> None:
        del canary
        write(folder, {"model.xml": xml, "model.bin": data})


for _name, _source, _said, _xml in (
    (
        "entities that multiply",
        "CVE-2003-1564",
        "document type or entities",
        openvino_xml(before=XML_BOMB),
    ),
    ("external entity", "CVE-2013-1665", "document type or entities", openvino_xml(before=XXE)),
    ("weights behind the end", "CWE-125", "in bytes 8 to 24, it has 16", openvino_xml(offset=8)),
    ("weights of another size", "CWE-125", "its type and shape ask 16", openvino_xml(size=8)),
    (
        "operator of an extension",
        "CWE-114",
        "'extension', an extension",
        openvino_xml(version="extension"),
    ),
    ("elements nested 1,000 deep", "CWE-674", "is nested too deeply", "<net version='11'>" * 1000),
    ("another XML", "CWE-436", "is XML, but no OpenVINO IR", "<html></html>"),
    ("cut short", "CWE-125", "it is no XML", openvino_xml()[:-9]),
):
    _openvino(_name, _source, _said, _xml)

_openvino(
    "bytes in the weights that no constant names",
    "CWE-434",
    "bytes at its end that model.xml never names",
    openvino_xml(),
    bytes(16) + b"payload",
)
