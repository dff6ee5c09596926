"""Every variant from the same two FP32 graphs: ONNX as it is or INT8, OpenVINO FP16 or INT8.

Each quantiser starts from the pristine FP32 graph, never from another variant, and its package
is imported only when its variant was asked for. Runs in the converter's environment.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.conversion.recipes import Recipe

GRAPHS = ("encoder", "decoder")


def check_onnx(path: Path) -> None:
    """Raise onnx.checker.ValidationError when the graph breaks ONNX's rules."""
    import onnx

    onnx.checker.check_model(str(path), full_check=True)


def write_variant(recipe: Recipe, fp32: Path, folder: Path) -> None:
    """Write both graphs of the variant into `folder` from the FP32 ones in `fp32`."""
    writers = {
        ("onnx", "fp32"): _copy_onnx,
        ("onnx", "int8"): _quantise_onnx,
        ("openvino", "fp16"): _convert_openvino,
        ("openvino", "int8"): _compress_openvino,
    }
    for graph in GRAPHS:
        writers[recipe.format, recipe.precision](fp32 / f"{graph}.onnx", folder, recipe)


def tools_of(recipe: Recipe) -> tuple[str, ...]:
    """Packages that touch this variant's bytes, beside those of the export."""
    return {
        ("onnx", "fp32"): (),
        ("onnx", "int8"): ("onnxruntime",),
        ("openvino", "fp16"): ("openvino",),
        ("openvino", "int8"): ("openvino", "nncf"),
    }[recipe.format, recipe.precision]


def _copy_onnx(graph: Path, folder: Path, _: Recipe) -> None:
    shutil.copyfile(graph, folder / graph.name)


def _quantise_onnx(graph: Path, folder: Path, recipe: Recipe) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        graph,
        folder / graph.name,
        op_types_to_quantize=[str(recipe.parameters["operators"])],
        per_channel=bool(recipe.parameters["per_channel"]),
        weight_type=QuantType.QInt8,
        # Products of two activations (attention) would lose most and hold no weights.
        extra_options={"MatMulConstBOnly": True},
    )
    check_onnx(folder / graph.name)


def _convert_openvino(graph: Path, folder: Path, _: Recipe) -> None:
    _save_openvino(_openvino_model(graph), folder / f"{graph.stem}.xml")


def _compress_openvino(graph: Path, folder: Path, recipe: Recipe) -> None:
    import nncf

    mode = nncf.CompressWeightsMode(recipe.parameters["mode"])
    compressed = nncf.compress_weights(_openvino_model(graph), mode=mode)
    _save_openvino(compressed, folder / f"{graph.stem}.xml")


def _openvino_model(graph: Path) -> Any:
    import openvino

    return openvino.convert_model(graph)


def _save_openvino(model: Any, path: Path) -> None:
    import openvino

    openvino.save_model(model, path, compress_to_fp16=True)
