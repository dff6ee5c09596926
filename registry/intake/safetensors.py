"""Reads a safetensors file's header: every byte after it belongs to one tensor, none to two.

Format: 8 bytes little-endian header length, the header's JSON, then the tensors, one behind the
other (github.com/huggingface/safetensors). The tensors' own bytes are never read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from registry.intake.json_values import parse
from registry.intake.reading import Reading

if TYPE_CHECKING:
    from registry.intake.source import Source

MAX_HEADER = 100 * 1000 * 1000
"""safetensors' own limit."""
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_KEYS = {"dtype", "shape", "data_offsets"}
_MOST_DIMENSIONS = 64


def read_safetensors(source: Source) -> Reading:
    """Claim a safetensors file. Raises UserError when header and bytes do not agree."""
    read_tensors(source)
    return Reading("safetensors")


def read_tensors(source: Source) -> dict[str, dict[str, Any]]:
    """The tensors by name, each `dtype`, `shape` and `data_offsets`, once all bytes are theirs."""
    length = int.from_bytes(source.read(0, 8), "little")
    if length > MAX_HEADER:
        raise source.refused(f"has a header that claims {length} bytes, more than safetensors has")
    if length > source.size - 8:
        raise source.damaged(f"its header claims {length} bytes, the file has {source.size}")
    content = source.read(8, length)
    if not content.startswith(b"{"):
        raise source.damaged("its header is not a JSON object")
    header = parse(source, content, limit=MAX_HEADER, part="its header ")
    _check_metadata(source, header.pop("__metadata__", {}))
    spans = sorted((*_span(source, name, tensor), name) for name, tensor in header.items())
    end, before = 0, ""
    for begin, stop, name in spans:
        if begin < end:
            raise source.damaged(f"its tensors {before!r} and {name!r} overlap")
        if begin > end:
            raise source.damaged(f"there is a hole of {begin - end} bytes before {name!r}")
        end, before = stop, name
    if (held := source.size - 8 - length) != end:
        more = f"{held - end} bytes behind" if held > end else f"{end - held} bytes missing from"
        raise source.damaged(f"there are {more} its last tensor")
    return dict(header)


def _span(source: Source, name: str, tensor: Any) -> tuple[int, int]:
    """Where a tensor begins and ends, once its type, shape and offsets agree."""
    if not isinstance(tensor, dict) or set(tensor) != _KEYS:
        raise source.damaged(f"tensor {name!r} is not described as safetensors asks")
    dtype, shape, offsets = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise source.damaged(f"tensor {name!r} has the unknown type {str(dtype)[:40]!r}")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
        raise source.damaged(f"tensor {name!r} has a size or an offset that is no count")
    begin, end = offsets
    bits = BITS[dtype] * math.prod(shape)
    if bits % 8 or end - begin != bits // 8:
        raise source.damaged(
            f"tensor {name!r} takes {end - begin} bytes, its type and shape ask for {bits / 8:g}"
            if bits < 1 << 60
            else f"tensor {name!r} is larger than any file"
        )
    return begin, end


def _counts(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= _MOST_DIMENSIONS
        and all(type(one) is int and 0 <= one < 1 << 63 for one in values)
    )


def _check_metadata(source: Source, metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(one, str) for one in metadata.values()):
        raise source.damaged("its __metadata__ is not texts by name")
