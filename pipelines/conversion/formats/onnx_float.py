"""ONNX in FP32 and in FP16; inputs and outputs are FP32 in both, so that callers are the same."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

from pipelines.conversion.formats import graph, sharing
from pipelines.conversion.formats.settings import Half, read

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.conversion.formats.writing import Feeds
    from pipelines.conversion.kind import Recipe

_TO_FP32 = re.compile(r".*_cast_to_fp32_node|graph_output_cast\d+")
_TO_FP16 = re.compile(r".*_cast_to_fp16_node|graph_input_cast\d+")
"""Names of the casts that onnxruntime.transformers.float16 adds."""


def write_fp32(_: Recipe, fp32_graph: Path, made: Path, __: Feeds) -> None:
    """The graph as it was exported, byte for byte unless it holds a weight twice."""
    model = graph.load(fp32_graph)
    merged = sharing.merge(model)
    ties = sharing.separate(model)
    if merged or ties:
        sharing.join(model, ties)
        graph.save(model, made)
    else:
        shutil.copyfile(fp32_graph, made)
        graph.check(made)


def write_fp16(recipe: Recipe, fp32_graph: Path, made: Path, _: Feeds) -> None:
    """Weights and arithmetic in FP16; what FP16 cannot hold is clipped to its largest number."""
    from onnxruntime.transformers import float16

    settings = read(recipe, Half)
    model = graph.load(fp32_graph)
    graph.require_nodes(model, settings.keep)
    sharing.merge(model)
    sharing.join(model, sharing.separate(model))
    half = float16.convert_float_to_float16(
        model,
        keep_io_types=True,
        op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *settings.keep_operators],
        node_block_list=list(settings.keep),
    )
    _mend_casts(half)
    graph.sort(half)
    graph.save(half, made)


def _mend_casts(model: Any) -> None:
    """Mend what the converter does around nodes that stay FP32.

    It adds one cast to FP32 for every reader of a tensor, all of one name, and it sends numbers
    between two such nodes, or between one and an input or output of the graph, through FP16,
    where they may overflow.
    """
    casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
    whole = {
        name: casts[node.input[0]].input[0]
        for name, node in casts.items()
        if _TO_FP32.fullmatch(node.name)
        and node.input[0] in casts
        and _TO_FP16.fullmatch(casts[node.input[0]].name)
    }
    outputs = {one.name for one in model.graph.output}
    kept = []
    for node in model.graph.node:
        name = node.output[0] if node.op_type == "Cast" else ""
        if name in outputs & whole.keys():
            node.input[0] = whole[name]
        elif name and (casts[name] is not node or name in whole):
            continue
        kept.append(node)
    for node in kept:
        for position, name in enumerate(node.input):
            node.input[position] = whole.get(name, name)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    infos = {one.name: one for one in model.graph.value_info}
    del model.graph.value_info[:]
    model.graph.value_info.extend(infos.values())
