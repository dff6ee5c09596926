"""ONNX in INT8 by ONNX Runtime: dynamic, or static QDQ pairs with calibrated ranges."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.conversion.formats import graph, sharing
from pipelines.conversion.formats.settings import Dynamic, Static, read
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.conversion.formats.writing import Feeds
    from pipelines.conversion.kind import Recipe

DYNAMIC = ("MatMul", "Gemm", "Conv", "LSTM", "Gather", "Attention")
"""Types that ONNX Runtime quantises dynamically and that hold weights."""
STATIC = ("MatMul", "Gemm", "Conv", "ConvTranspose", "Gather")
"""Types that become QDQ pairs and that hold weights. LSTM and GRU have no such kernels."""


def write_dynamic(recipe: Recipe, fp32_graph: Path, made: Path, _: Feeds) -> None:
    """INT8 weights; activations are quantised while serving."""
    settings = read(recipe, Dynamic)
    model = graph.load(fp32_graph)
    _require(model, settings.operators, DYNAMIC)
    graph.require_nodes(model, settings.keep)
    sharing.merge(model)
    ties = sharing.separate(model)
    sharing.separate_recurrent(model)
    _quantise_dynamically(
        model,
        made,
        settings.operators,
        keep=[*settings.keep, *sharing.tied_look_ups(model, ties)],
        per_channel=settings.per_channel,
        reduce_range=settings.reduce_range,
        constant_only=settings.constant_only,
    )
    _finish(made, settings.operators, ties)


def write_static(recipe: Recipe, fp32_graph: Path, made: Path, feeds: Feeds) -> None:
    """INT8 weights and activations, the ranges of activations from `feeds`."""
    settings = read(recipe, Static)
    model = graph.load(fp32_graph)
    _require(model, settings.operators, STATIC)
    _require(model, settings.dynamic_operators, DYNAMIC)
    graph.require_nodes(model, settings.keep)
    sharing.merge(model)
    ties = sharing.separate(model)
    settings = replace(settings, keep=(*settings.keep, *sharing.tied_look_ups(model, ties)))
    with tempfile.TemporaryDirectory(prefix="sluice-ranges-") as scratch:
        ranges = Path(scratch) / "ranges.json"
        calibrate(model, settings, feeds, ranges)
        quantise_statically(model, made, settings, ranges)
    if settings.dynamic_operators:
        half_made = graph.load(made)
        sharing.separate_recurrent(half_made)
        _quantise_dynamically(
            half_made,
            made,
            settings.dynamic_operators,
            keep=settings.keep,
            per_channel=settings.per_channel,
            reduce_range=settings.reduce_range,
            constant_only=True,
        )
    _finish(made, settings.operators, ties)


def calibrate(model: graph.Model, settings: Static, feeds: Feeds, ranges: Path) -> None:
    """Write the ranges of the model's activations over `feeds` to the file `ranges`.

    One feed at a time: a histogram of all feeds at once holds every activation of every feed.
    """
    from onnxruntime.quantization import CalibrationMethod, create_calibrator
    from onnxruntime.quantization.calibrate import save_tensors_data

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    if settings.calibration not in methods:
        raise UserError(
            f"calibration is {settings.calibration!r}", remedy=f"one of {', '.join(methods)}"
        )
    source, augmented = ranges.with_name("graph.onnx"), ranges.with_name("augmented.onnx")
    graph.save(model, source)
    options: dict[str, bool | float] = {"symmetric": settings.symmetric}
    if settings.calibration == "percentile":
        options["percentile"] = settings.percentile
    calibrator = create_calibrator(
        source,
        list(settings.operators),
        augmented_model_path=str(augmented),
        calibrate_method=methods[settings.calibration],
        extra_options=options,
    )
    for feed in feeds[: settings.subset_size]:
        calibrator.collect_data(_reader(feed))
    save_tensors_data(calibrator.compute_data(), ranges)


def quantise_statically(model: graph.Model, made: Path, settings: Static, ranges: Path) -> None:
    """Write the model with QDQ pairs whose ranges are those of the file `ranges`."""
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    add_pre_process_metadata(model)
    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    quantize_static(
        model,
        made,
        calibration_cache_path=ranges,
        calibrate_method=methods[settings.calibration],
        op_types_to_quantize=list(settings.operators),
        per_channel=settings.per_channel,
        reduce_range=settings.reduce_range,
        activation_type=QuantType.QInt8 if settings.symmetric else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=list(settings.keep),
        extra_options={
            "ActivationSymmetric": settings.symmetric,
            "MatMulConstBOnly": settings.constant_only,
        },
    )


def _quantise_dynamically(
    model: graph.Model,
    made: Path,
    operators: Sequence[str],
    *,
    keep: Sequence[str],
    per_channel: bool,
    reduce_range: bool,
    constant_only: bool,
) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    add_pre_process_metadata(model)
    quantize_dynamic(
        model,
        made,
        # A Gemm is rewritten as MatMul and Add first.
        op_types_to_quantize=["MatMul" if one == "Gemm" else one for one in operators],
        per_channel=per_channel,
        reduce_range=reduce_range,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[*keep, *(f"{one}_MatMul" for one in keep)],
        extra_options={"MatMulConstBOnly": constant_only},
    )


def _require(model: graph.Model, wanted: Sequence[str], able: Sequence[str]) -> None:
    if unable := [one for one in wanted if one not in able]:
        raise UserError(
            f"ONNX Runtime cannot quantise {', '.join(unable)} this way",
            remedy=f"it can {', '.join(able)}",
        )
    present = graph.operators(model)
    if wanted and not any(one in present for one in wanted):
        raise UserError(
            f"the graph holds no {' or '.join(wanted)} to quantise; it is made of"
            f" {', '.join(sorted(present))}",
            remedy="leave this variant out for this model",
        )


def _finish(made: Path, operators: Sequence[str], ties: tuple[sharing.Tie, ...]) -> None:
    import onnx

    model = graph.load(made)
    sharing.join(model, ties)
    sharing.merge(model)
    graph.save(model, made)
    if not graph.has_weights_of(model, (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)):
        raise UserError(
            f"no weight of {' or '.join(operators)} could be quantised: none is constant",
            remedy="leave this variant out for this model",
        )


def _reader(feed: Any) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Once(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
        """Hands out one feed."""

        def __init__(self) -> None:
            self._left = [dict(feed)]

        def get_next(self) -> Any:
            return self._left.pop() if self._left else None

    return Once()
