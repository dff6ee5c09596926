"""Claims an OpenVINO IR: its XML without entities, its weights in the `.bin` of the same name.

The XML is read as a stream, with neither document types nor entities (defusedxml), and what is
kept of it is where each constant lies (docs.openvino.ai, "OpenVINO IR format").
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from registry.intake.reading import Part, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.intake.source import Source

_MAX_BYTES = 512 * 1024**2
_CHUNK = 1 << 20
_DEEPEST = 64
_MOST_ELEMENTS = 5_000_000
_VERSIONS = ("10", "11")
_OPSETS = re.compile(r"opset[0-9]{1,3}|ie_internal_opset|type_relaxed_opset|ov_ops|util")
_BITS = {
    **dict.fromkeys(("f64", "i64", "u64"), 64),
    **dict.fromkeys(("f32", "i32", "u32"), 32),
    **dict.fromkeys(("f16", "bf16", "i16", "u16"), 16),
    **dict.fromkeys(("i8", "u8", "boolean", "f8e4m3", "f8e5m2", "f8e8m0"), 8),
    **dict.fromkeys(("u6",), 6),
    **dict.fromkeys(("i4", "u4", "nf4", "f4e2m1"), 4),
    **dict.fromkeys(("u3",), 3),
    **dict.fromkeys(("u2", "i2"), 2),
    **dict.fromkeys(("u1",), 1),
}


def read_openvino(source: Source) -> Reading:
    """Claim an IR's XML. Raises UserError: entities, another XML, operators from elsewhere."""
    # It ships no types.
    from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
    from defusedxml.ElementTree import DefusedXMLParser  # type: ignore[import-untyped]

    if source.size > _MAX_BYTES:
        raise source.refused(f"is larger than {_MAX_BYTES >> 20} MiB, too large for an IR")
    target = _Network(source)
    try:
        parser = DefusedXMLParser(target=target, forbid_dtd=True)
        for at in range(0, source.size, _CHUNK):
            parser.feed(source.read(at, min(_CHUNK, source.size - at)))
        parser.close()
    except DefusedXmlException as error:
        raise source.refused(
            f"holds a document type or entities ({type(error).__name__}), which an IR never has",
        ) from error
    except (SyntaxError, ValueError, LookupError) as error:
        raise source.damaged(f"it is no XML: {error}") from error
    return Reading("openvino-ir", tuple(target.parts))


class _Network:
    """Hears of each element as it is read; keeps the constants' places."""

    def __init__(self, source: Source) -> None:
        self.parts: list[Part] = []
        self._source = source
        self._bin = f"{source.name.removesuffix('.xml')}.bin"
        self._path: list[str] = []
        self._layer = ""
        self._elements = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        self._path.append(tag)
        self._elements += 1
        if len(self._path) > _DEEPEST or self._elements > _MOST_ELEMENTS:
            raise self._source.refused("is nested too deeply, or has more elements than any IR")
        if len(self._path) == 1:
            self._root(tag, attributes)
        elif tag == "layer":
            self._layer = attributes.get("name", "")
            version = attributes.get("version", "opset1")
            if not _OPSETS.fullmatch(version):
                raise self._source.refused(
                    f"needs the operator {attributes.get('type')!r} of {version!r}, an extension",
                    "export the network with OpenVINO's own operators",
                )
        elif tag == "data" and ("offset" in attributes or "size" in attributes):
            self._constant(attributes)

    def end(self, tag: str) -> None:
        """An element ends."""
        del tag
        self._path.pop()

    def data(self, text: str) -> None:
        """Text between elements says nothing that is asked for here."""

    def close(self) -> None:
        """The document has ended."""

    def _root(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag != "net" or attributes.get("version") not in _VERSIONS:
            raise self._source.refused(
                f"is XML, but no OpenVINO IR of version {' or '.join(_VERSIONS)}"
            )

    def _constant(self, attributes: Mapping[str, str]) -> None:
        try:
            offset, size = (_count(attributes[key]) for key in ("offset", "size"))
            shape = [_count(one) for one in attributes.get("shape", "").split(",") if one.strip()]
        except (KeyError, ValueError) as error:
            raise self._source.damaged(f"the constant {self._layer!r} lies at no place") from error
        bits = _BITS.get(attributes.get("element_type", ""))
        if "shape" in attributes and bits and len(shape) <= 64:
            wanted = -(-bits * math.prod(shape) // 8)
            if wanted != size:
                raise self._source.damaged(
                    f"the constant {self._layer!r} has {size} bytes, its type and shape ask "
                    f"{wanted if wanted < 1 << 63 else 'more than any file has'}"
                )
        self.parts.append(Part(self._bin, offset, offset + size, self._layer))


def _count(digits: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,19}\s*", digits):
        raise ValueError(digits)
    return int(digits)
