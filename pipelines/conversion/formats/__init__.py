"""Every format from one FP32 ONNX graph: the writers that all kinds of model share.

A writer starts from the pristine FP32 graph, never from another variant, leaves it untouched and
writes the same bytes each time. What it wrote is opened by the engine that will serve it; a file
that cannot be opened, that computes NaN where FP32 did not, or in which nothing was quantised is
an error, never a variant. Quantisers are imported only when asked for. Runs in the converter's
environment (or the Keras one); it judges no quality and knows no kind of model.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.conversion.formats import onnx_float, onnx_int8, onnx_weights, openvino_ir
from pipelines.conversion.formats.opening import try_out
from pipelines.conversion.formats.settings import for_graph, method_of
from registry.errors import PermanentEngineError, SluiceError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipelines.conversion.formats.writing import Feeds
    from pipelines.conversion.kind import Recipe

_WRITERS: Mapping[tuple[str, str, str], Callable[[Recipe, Path, Path, Feeds], None]] = {
    ("onnx", "fp32", ""): onnx_float.write_fp32,
    ("onnx", "fp16", ""): onnx_float.write_fp16,
    ("onnx", "int8", "dynamic"): onnx_int8.write_dynamic,
    ("onnx", "int8", "static"): onnx_int8.write_static,
    ("onnx", "int8", "weights"): onnx_weights.write_int8,
    ("openvino", "fp32", ""): openvino_ir.write_float,
    ("openvino", "fp16", ""): openvino_ir.write_float,
    ("openvino", "int8", "weights"): openvino_ir.write_weights,
    ("openvino", "int4", "weights"): openvino_ir.write_weights,
    ("openvino", "int8", "full"): openvino_ir.write_full,
}
NEEDS_FEEDS = ("static", "full")
"""Methods that measure activations, and so need calibration feeds."""


def write(recipe: Recipe, name: str, fp32_graph: Path, folder: Path, feeds: Feeds) -> None:
    """Write `folder/NAME.onnx`, or `NAME.xml` and `NAME.bin`, as `recipe` says.

    `feeds` are real inputs of this graph, by input name and with the batch dimension; they
    calibrate the methods "static" and "full", and the first one is run through every result.
    Raises UserError for a combination that cannot work, PermanentEngineError when a quantiser
    fails or its result cannot be opened; both name the variant and the graph.
    """
    writer = _writer(recipe)
    recipe = for_graph(recipe, name)
    if method_of(recipe) in NEEDS_FEEDS and not feeds:
        raise UserError(
            f"{recipe.variant} needs calibration data",
            where=name,
            remedy="name a set in [convert] calibration",
        )
    with tempfile.TemporaryDirectory(prefix="sluice-format-") as scratch:
        made = Path(scratch) / f"{name}.{'xml' if recipe.format == 'openvino' else 'onnx'}"
        _named(recipe, name, lambda: writer(recipe, fp32_graph, made, feeds))
        _named(recipe, name, lambda: try_out(made, fp32_graph, feeds[:1]))
        for path in sorted(Path(scratch).glob(f"{name}.*")):
            (folder / path.name).write_bytes(path.read_bytes())


def tools_of(recipe: Recipe) -> tuple[str, ...]:
    """Distributions that touch this variant's bytes, beside those of the export."""
    _writer(recipe)
    if recipe.format == "onnx":
        return () if recipe.precision == "fp32" else ("onnx", "onnxruntime")
    return ("openvino", "nncf") if method_of(recipe) else ("openvino",)


def supported() -> Sequence[tuple[str, str, str]]:
    """Every (format, precision, method) that can be written."""
    return tuple(_WRITERS)


def _writer(recipe: Recipe) -> Callable[[Recipe, Path, Path, Feeds], None]:
    key = (recipe.format, recipe.precision, method_of(recipe))
    if key not in _WRITERS:
        known = "; ".join(" ".join(filter(None, one)) for one in _WRITERS)
        raise UserError(
            f"nothing writes {' '.join(filter(None, key))}",
            where=recipe.variant,
            remedy=f"there are: {known}",
        )
    return _WRITERS[key]


def _named(recipe: Recipe, name: str, step: Callable[[], None]) -> None:
    """Run `step`; whatever it raises names the variant and the graph."""
    try:
        step()
    except MemoryError:
        raise
    except SluiceError as error:
        where = f"{recipe.variant}, graph {name!r}" + (f", {error.where}" if error.where else "")
        raise type(error)(error.what, where=where, remedy=error.remedy) from error
    except Exception as error:
        # Quantisers raise whatever comes to hand, bare AssertionError included.
        said = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        raise PermanentEngineError(
            f"could not be made: {type(error).__name__}: {said[:300]}",
            where=f"{recipe.variant}, graph {name!r}",
            remedy="leave this variant out, or change its parameters",
        ) from error
