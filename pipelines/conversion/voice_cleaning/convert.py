"""Opens a voice cleaner's network and fixes its sizes. Runs in the converter's environment."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from pipelines.conversion.formats.opening import open_graph
from pipelines.conversion.job import NETWORK as GRAPH
from pipelines.conversion.job import Conversion, Request
from pipelines.conversion.voice_cleaning.parity import made_up, measure, reference
from pipelines.conversion.voice_cleaning.source import DESCRIPTION, NETWORK, inspect
from pipelines.conversion.voice_cleaning.transform import Transform
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pipelines.conversion.kind import Recipe


def prepare(request: Request) -> CleaningConversion:
    """Fix the network's sizes, and let the source itself answer the probes."""
    return CleaningConversion(request)


class CleaningConversion(Conversion):
    """See Conversion."""

    tools = ("onnx", "torch")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._enhancement = inspect(request.source)
        self._transform = Transform(self._enhancement)
        self.longest_question = (self._enhancement.window_samples,)
        self.graphs = {GRAPH: request.scratch / f"{GRAPH}.onnx"}
        fix_sizes(request.source / NETWORK, self.graphs[GRAPH], self._enhancement.dims)
        sounds = self._sounds(request.probes) or made_up(
            self._enhancement.window_samples, self._enhancement.sample_rate
        )
        session = open_graph(request.source / NETWORK, threads=2)
        self._expected = reference(session, self._transform, sounds)

    def write_files(self, folder: Path) -> None:
        """See Conversion."""
        shutil.copyfile(self._request.source / DESCRIPTION, folder / DESCRIPTION)

    def make_feeds(self, graph: str) -> list[dict[str, NDArray[Any]]]:
        """See Conversion."""
        if graph != GRAPH:
            return []
        sounds = self._sounds(self._request.calibration)
        return [self._transform.inputs(self._transform.padded([sound])) for sound in sounds]

    def measure(self, recipe: Recipe, folder: Path) -> Mapping[str, float]:
        """See Conversion."""
        suffix = "xml" if recipe.format == "openvino" else "onnx"
        session = open_graph(folder / f"{GRAPH}.{suffix}", threads=2)
        return measure(session, self._transform, self._expected, recipe.variant)

    def _sounds(self, questions: Sequence[NDArray[np.float32] | str]) -> list[NDArray[np.float32]]:
        """The questions that are sounds which fit the window."""
        longest = self._enhancement.window_samples
        sounds = [one for one in questions if not isinstance(one, str) and 0 < one.size <= longest]
        if questions and not sounds:
            raise UserError(
                f"no calibration sound fits the network's window of {longest} samples",
                remedy="name a set of shorter clips in [convert] calibration",
            )
        return sounds


def fix_sizes(source: Path, graph: Path, dims: tuple[int, ...]) -> None:
    """Write the source's network with its weights inside and no free size but the batch.

    Triton's native OpenVINO backend refuses an output whose shape is free.
    """
    import onnx

    model = onnx.load(source)
    weights = {one.name for one in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.output):
        if value.name in weights:  # before IR version 4 weights were inputs too
            continue
        sizes = value.type.tensor_type.shape.dim
        for size, wanted in zip(list(sizes)[1:], dims, strict=True):
            size.dim_value = wanted
        sizes[0].dim_param = "batch"
    # What the exporter wrote of the shapes between may name sizes that are fixed now.
    del model.graph.value_info[:]
    graph.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(graph), full_check=True)
