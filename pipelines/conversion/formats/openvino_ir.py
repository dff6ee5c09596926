"""OpenVINO IR: floating point, compressed weights, or full INT8 by NNCF."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pipelines.conversion.formats.openvino_recurrent import compress_recurrent, halve_the_rest
from pipelines.conversion.formats.settings import Full, OpenvinoWeights, read
from registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.conversion.formats.writing import Feeds
    from pipelines.conversion.kind import Recipe


def write_float(recipe: Recipe, fp32_graph: Path, made: Path, _: Feeds) -> None:
    """The graph as IR, its weights in FP16 or FP32."""
    _save(convert(fp32_graph), made, half=recipe.precision == "fp16")


def write_weights(recipe: Recipe, fp32_graph: Path, made: Path, _: Feeds) -> None:
    """Weights in INT8 or INT4 (embeddings and the last layer in INT8); the rest in FP16."""
    import nncf

    settings = read(recipe, OpenvinoWeights)
    if not settings.mode.startswith(recipe.precision):
        raise UserError(f"mode {settings.mode!r} is not {recipe.precision}")
    model = convert(fp32_graph)
    present = _types(model)
    compressed = nncf.compress_weights(
        model,
        mode=nncf.CompressWeightsMode(settings.mode),
        ignored_scope=_ignored(settings.keep, ()),
        **(_int4(settings) if recipe.precision == "int4" else {}),
    )
    name_nodes(compressed)
    compress_recurrent(compressed)
    wanted = {"i4", "u4"} if recipe.precision == "int4" else {"i8", "u8"}
    _require_types(compressed, wanted, present)
    halve_the_rest(compressed)
    _save(compressed, made)


def write_full(recipe: Recipe, fp32_graph: Path, made: Path, feeds: Feeds) -> None:
    """Weights and activations in INT8, the ranges of activations from `feeds`."""
    import nncf

    settings = read(recipe, Full)
    model = convert(fp32_graph)
    present = _types(model)
    if settings.preset == "performance" and "LSTMSequence" in present:
        # OpenVINO 2026.4: differences as large as the outputs, with any calibration.
        raise UserError("the preset performance ruins LSTM", remedy="use the preset mixed")
    quantised = nncf.quantize(
        model,
        nncf.Dataset([dict(feed) for feed in feeds]),
        preset=nncf.QuantizationPreset(settings.preset),
        model_type=None if settings.model_type == "none" else nncf.ModelType(settings.model_type),
        subset_size=min(settings.subset_size, len(feeds)),
        fast_bias_correction=settings.fast_bias_correction,
        ignored_scope=_ignored(settings.keep, settings.keep_operators),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix(settings.overflow_fix)
        ),
    )
    _require_types(quantised, set(), present)
    name_nodes(quantised)
    compress_recurrent(quantised)
    halve_the_rest(quantised)
    _save(quantised, made)


def convert(fp32_graph: Path) -> Any:
    """The graph as an openvino.Model whose node names are the same each time."""
    import openvino

    model = openvino.convert_model(fp32_graph)
    name_nodes(model)
    return model


def name_nodes(model: Any) -> None:
    """Number anew what OpenVINO and NNCF named by a counter of their process."""
    counts: dict[str, int] = {}
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        for body in _bodies(node):
            name_nodes(body)
        if kind in {"Parameter", "Result"} or not _COUNTED.fullmatch(node.get_friendly_name()):
            continue
        counts[kind] = counts.get(kind, 0) + 1
        node.set_friendly_name(f"{kind}.{counts[kind]}")


def _bodies(node: Any) -> list[Any]:
    match node.get_type_name():
        case "If":
            return [node.get_then_body(), node.get_else_body()]
        case "Loop" | "TensorIterator":
            return [node.get_function()]
    return []


def _int4(settings: OpenvinoWeights) -> dict[str, Any]:
    import nncf

    # A channel count that the group size does not divide takes a smaller group, else INT8.
    fallback = nncf.AdvancedCompressionParameters(
        group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST, min_adjusted_group_size=16
    )
    return {
        "group_size": settings.group_size or None,
        "ratio": settings.ratio,
        "all_layers": settings.all_layers,
        "advanced_parameters": fallback,
    }


def _ignored(names: tuple[str, ...], types: tuple[str, ...]) -> Any:
    import nncf

    return nncf.IgnoredScope(names=list(names), types=list(types))


def _require_types(model: Any, types: set[str], present: set[str]) -> None:
    """Refuse a model without a constant of these types and without quantised activations."""
    for node in model.get_ops():
        kind = node.get_type_name()
        if kind == "FakeQuantize" or (
            kind == "Constant" and node.get_element_type().get_type_name() in types
        ):
            return
    raise UserError(
        f"NNCF found nothing to quantise so in {', '.join(sorted(present - _PLUMBING))}",
        remedy="leave this variant out for this model",
    )


def _types(model: Any) -> set[str]:
    return {node.get_type_name() for node in model.get_ops()}


def _save(model: Any, made: Path, *, half: bool = False) -> None:
    import openvino

    name_nodes(model)
    openvino.save_model(model, made, compress_to_fp16=half)


_COUNTED = re.compile(r"[A-Z][A-Za-z0-9]*_\d+(_\d+)*")
"""Such as Constant_1947, also for nodes that were folded to constants, such as Transpose_1947."""
_PLUMBING = {"Constant", "Parameter", "Result", "Convert"}
