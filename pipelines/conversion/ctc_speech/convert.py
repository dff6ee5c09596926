"""Opens a CTC checkpoint and exports its one graph. Runs in the converter's environment."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from pipelines.conversion.ctc_speech.inputs import extractor_of
from pipelines.conversion.ctc_speech.network import export, load
from pipelines.conversion.ctc_speech.parity import made_up, measure, reference
from pipelines.conversion.ctc_speech.source import inspect
from pipelines.conversion.ctc_speech.vocabulary import TOKENIZER, characters
from pipelines.conversion.formats.opening import open_graph
from pipelines.conversion.job import NETWORK, Conversion, Request
from registry.errors import UserError
from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pipelines.conversion.ctc_speech.source import CtcFacts
    from pipelines.conversion.kind import Recipe

DECODING = "decoding.json"
CHARACTERS = "characters.json"


def prepare(request: Request) -> CtcConversion:
    """Load the checkpoint, export the network, and let PyTorch answer the probes."""
    return CtcConversion(request, inspect(request.source))


class CtcConversion(Conversion):
    """See Conversion."""

    tools = ("torch", "transformers")

    def __init__(self, request: Request, facts: CtcFacts) -> None:
        self._request, self._facts = request, facts
        self._extractor = extractor_of(request.source, facts)
        self.longest_question = (facts.window_samples,)
        self.graphs = {NETWORK: request.scratch / f"{NETWORK}.onnx"}
        network = load(request.source, facts)
        made = made_up(facts.window_samples, facts.sample_rate)
        # Two rows: a batch of 1 would be taken for a constant.
        export(
            network,
            _tensors(self._extractor(made[:2])),
            self._extractor.names,
            self.graphs[NETWORK],
        )
        sounds = self._sounds(request.probes) or made
        self._expected = reference(network, self._extractor(sounds), facts.blank)

    def write_files(self, folder: Path) -> None:
        """See Conversion."""
        source, size = self._request.source, self._facts.vocabulary_size
        self._extractor.write(folder)
        decoding = {"blank": self._facts.blank, "vocabulary_size": size}
        (folder / DECODING).write_bytes(canonical_json(decoding) + b"\n")
        if (source / TOKENIZER).is_file():
            shutil.copyfile(source / TOKENIZER, folder / TOKENIZER)
        else:
            (folder / CHARACTERS).write_bytes(canonical_json(characters(source, size)) + b"\n")

    def make_feeds(self, graph: str) -> list[dict[str, NDArray[Any]]]:
        """See Conversion."""
        if graph != NETWORK:
            return []
        return [self._extractor([sound]) for sound in self._sounds(self._request.calibration)]

    def measure(self, recipe: Recipe, folder: Path) -> Mapping[str, float]:
        """See Conversion."""
        suffix = "xml" if recipe.format == "openvino" else "onnx"
        session = open_graph(folder / f"{NETWORK}.{suffix}", threads=2)
        return measure(session, self._expected, recipe.variant)

    def _sounds(self, questions: Sequence[NDArray[np.float32] | str]) -> list[NDArray[np.float32]]:
        """The questions that are sounds which fit the window."""
        longest = self._facts.window_samples
        sounds = [one for one in questions if not isinstance(one, str) and 0 < one.size <= longest]
        if questions and not sounds:
            raise UserError(
                f"no calibration sound fits the model's window of {longest} samples",
                remedy="name a set of shorter clips in [convert] calibration",
            )
        return sounds


def _tensors(feed: Mapping[str, NDArray[Any]]) -> list[Any]:
    import torch

    return [torch.from_numpy(array) for array in feed.values()]
