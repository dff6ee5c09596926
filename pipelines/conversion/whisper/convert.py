"""Opens a Whisper checkpoint and exports its two graphs. Runs in the converter's environment."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from pipelines.conversion.job import EXAMPLES, Conversion, Request
from pipelines.conversion.loading import load_model
from pipelines.conversion.whisper.files import decoding_values, write_serving_files
from pipelines.conversion.whisper.graphs import export_decoder, export_encoder
from pipelines.conversion.whisper.parity import decoder_feed, measure, probe, reference
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pipelines.conversion.kind import Recipe


def prepare(request: Request) -> WhisperConversion:
    """Load the checkpoint, export both graphs, and let PyTorch answer the probes."""
    model, extractor = _load(request.source)
    decoding = decoding_values(request.source, model)
    if decoding["max_new_tokens"] < 1:
        raise UserError(
            "the prompt leaves no room for a transcript in the decoder's positions",
            where=str(request.source / "generation_config.json"),
            remedy="set max_length to the model's max_target_positions",
        )
    return WhisperConversion(request, model, extractor, decoding)


class WhisperConversion(Conversion):
    """See Conversion."""

    tools = ("torch", "transformers")

    def __init__(self, request: Request, model: Any, extractor: Any, decoding: Any) -> None:
        self._request, self._model = request, model
        self._extractor, self._decoding = extractor, decoding
        self.longest_question = (int(extractor.n_samples),)
        self.graphs = {name: request.scratch / f"{name}.onnx" for name in ("encoder", "decoder")}
        with warnings.catch_warnings():
            # The exporter says that it is the older one, and that a length check was traced.
            warnings.simplefilter("ignore")
            export_encoder(model, self.graphs["encoder"])
            export_decoder(model, self.graphs["decoder"])
        sounds: list[Any] = list(request.probes)
        sounds = sounds or list(probe(extractor.n_samples, extractor.sampling_rate))
        self._expected = reference(model, extractor, decoding, sounds)

    def write_files(self, folder: Path) -> None:
        """See Conversion."""
        write_serving_files(self._request.source, folder, self._model, self._extractor)

    def make_feeds(self, graph: str) -> list[dict[str, NDArray[np.float32]]]:
        """Log-mel features of the calibration sounds, for the encoder alone."""
        if graph != "encoder":
            return []
        rate = self._extractor.sampling_rate
        return [
            {
                "input_features": self._extractor(
                    [sound], sampling_rate=rate, return_tensors="np"
                ).input_features
            }
            for sound in self._request.calibration
        ]

    def examples(self, graph: str) -> list[dict[str, NDArray[Any]]]:
        """The encoder's feeds, and what the decoder takes after each of them."""
        heard = self.feeds("encoder")[:EXAMPLES]
        if graph == "encoder":
            return heard
        return [decoder_feed(self._model, self._decoding, feed["input_features"]) for feed in heard]

    def measure(self, recipe: Recipe, folder: Path) -> Mapping[str, float]:
        """See Conversion."""
        return measure(recipe, folder, self._expected, self._decoding)


def _load(source: Path) -> tuple[Any, Any]:
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    extractor = WhisperFeatureExtractor.from_pretrained(source, local_files_only=True)
    return load_model(WhisperForConditionalGeneration, source), extractor
