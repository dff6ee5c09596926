"""Opens a Keras lip-reader and exports its one graph. Runs in the `keras` environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.conversion.formats.opening import open_graph
from pipelines.conversion.job import NETWORK, Conversion, Request
from pipelines.conversion.lip_reading.architecture import CLIP
from pipelines.conversion.lip_reading.network import INPUT, check, export, load
from pipelines.conversion.lip_reading.parity import made_up, measure, reference
from pipelines.conversion.lip_reading.vocabulary import (
    VOCABULARY,
    check_width,
    read_vocabulary,
)
from registry.errors import UserError
from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.conversion.kind import Recipe


def prepare(request: Request) -> LipConversion:
    """Check and load the model, export the network, and let Keras answer the probes."""
    return LipConversion(request)


class LipConversion(Conversion):
    """See Conversion."""

    tools = ("h5py", "keras", "tensorflow-cpu", "tf2onnx")
    longest_question = CLIP

    def __init__(self, request: Request) -> None:
        self._request = request
        self._vocabulary = read_vocabulary(request.source)
        architecture = check(request.source)
        check_width(request.source, self._vocabulary, architecture.vocabulary_size)
        self.graphs = {NETWORK: request.scratch / f"{NETWORK}.onnx"}
        model = load(request.source, architecture)
        clips = _clips(request.probes)
        self._expected = reference(
            model, np.stack(clips) if clips else made_up(), self._vocabulary.blank
        )
        export(model, self.graphs[NETWORK])

    def write_files(self, folder: Path) -> None:
        """See Conversion."""
        (folder / VOCABULARY).write_bytes(canonical_json(self._vocabulary.to_json()) + b"\n")

    def make_feeds(self, graph: str) -> list[dict[str, NDArray[Any]]]:
        """See Conversion."""
        if graph != NETWORK:
            return []
        return [{INPUT: clip[None]} for clip in _clips(self._request.calibration)]

    def measure(self, recipe: Recipe, folder: Path) -> Mapping[str, float]:
        """See Conversion."""
        suffix = "xml" if recipe.format == "openvino" else "onnx"
        session = open_graph(folder / f"{NETWORK}.{suffix}", threads=2)
        return measure(session, self._expected, recipe.variant)


def _clips(questions: Sequence[NDArray[np.float32] | str]) -> list[NDArray[np.float32]]:
    """The questions, every one of which must be a clip of greys in 0..1. Raises UserError."""
    clips = [one for one in questions if not isinstance(one, str)]
    for clip in clips:
        if clip.shape != CLIP or not ((clip >= 0) & (clip <= 1)).all():
            raise UserError(
                f"a calibration clip is {clip.shape}, not {CLIP} of greys in 0..1",
                remedy="name a set of kind video in [convert] calibration",
            )
    if len(clips) != len(questions):
        raise UserError("the calibration set holds texts", remedy="name a set of kind video there")
    return clips
