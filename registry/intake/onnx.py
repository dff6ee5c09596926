"""Claims an ONNX file: one message to its last byte, weights inside or in files of its folder."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from registry.intake.onnx_wire import DamagedError, External, Model, read_model
from registry.intake.paths import path_fault
from registry.intake.reading import Part, Reading

if TYPE_CHECKING:
    from registry.intake.source import Source

_LARGEST = 1 << 31
"""Protocol buffers end here; what is more lies in files beside."""
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Domains of operators that ONNX Runtime brings: any other is a library from elsewhere."""


def read_onnx(source: Source) -> Reading:
    """Claim an ONNX file. Raises UserError: damaged, code from elsewhere, weights elsewhere."""
    if source.size > _LARGEST:
        raise source.refused("is larger than 2 GiB, which no ONNX file can be")
    if not source.size:
        raise source.damaged("it is empty")
    model = _model(source)
    if model.training_graphs:
        raise source.refused("holds a training graph", "export the network for inference")
    known = {*_DOMAINS, *model.function_domains}
    for domain, operator in sorted(model.operators):
        if domain not in known:
            raise source.refused(
                f"needs the operator {operator!r} of {domain!r}, whose code is not ONNX's",
                "export the network with ONNX's own operators",
            )
    return Reading("onnx", tuple(_part(source, one) for one in model.externals))


def _model(source: Source) -> Model:
    try:
        # Closed with the last view of it, which an error's traceback may hold.
        mapped = mmap.mmap(source.descriptor, source.size, prot=mmap.PROT_READ)
        return read_model(memoryview(mapped))
    except DamagedError as error:
        raise source.damaged(f"it is no ONNX model: {error}") from error
    except (OSError, ValueError) as error:
        raise source.refused(f"cannot be read: {error}") from error


def _part(source: Source, external: External) -> Part:
    where = external.location.removeprefix("./")
    remedy = "keep the weights beside the model, in its folder"
    if not where:
        raise source.refused(f"keeps the weights of {external.tensor!r} in no file", remedy)
    if fault := path_fault(where):
        raise source.refused(f"keeps weights in {external.location!r}, which {fault}", remedy)
    if where == source.name:
        raise source.refused("keeps weights in itself as if it were another file", remedy)
    length = external.length if external.length is not None else external.nbytes
    if length is None or external.offset < 0 or length < 0:
        raise source.damaged(f"the weights of {external.tensor!r} lie at no place")
    if external.nbytes is not None and length != external.nbytes:
        raise source.damaged(
            f"{external.tensor!r} has {length} bytes, its type and shape ask {external.nbytes}"
        )
    return Part(where, external.offset, external.offset + length, external.tensor)
