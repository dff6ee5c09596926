"""A variant that answers: clips in, transcripts with their signals out. Knows no server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common.answers import Outcome
from ..common.ctc import best_paths
from ..common.quality import compression_ratio, describe_text
from . import video

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ..common.answers import Settings
    from ..common.ctc import Path as BestPath

_SMALLEST = np.float32(1e-30)  # a probability that was rounded to 0 still has a logarithm


class LipReader:
    """Decoding and text of one variant; its network runs in another Triton model."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Load the variant in `folder`. Raises RuntimeError when `settings` give no network."""
        if settings.network is None:
            raise RuntimeError("a lip-reading variant needs the release's network beside it")
        self._network = settings.network
        tensors = json.loads((folder / "network.json").read_bytes())
        (self._input,), (self._output,) = tensors["inputs"], tensors["outputs"]
        self._dims = tuple(self._input["dims"])
        vocabulary = json.loads((folder / "vocabulary.json").read_bytes())
        self._tokens, self._blank = vocabulary["tokens"], vocabulary["blank"]
        self._delimiter = vocabulary["word_delimiter"]

    def refusal(self, question: NDArray[np.float32], parameters: Mapping[str, Any]) -> str:
        """Why a request with this clip must be refused; empty when it is sound."""
        asked = parameters.get("frames_per_second", video.FRAMES_PER_SECOND)
        if str(asked) != str(video.FRAMES_PER_SECOND):
            return (
                f"frames_per_second is {asked}, this model sees {video.FRAMES_PER_SECOND}; "
                "resample the video"
            )
        return video.refusal(question, self._dims)

    def answer(
        self, questions: Sequence[NDArray[np.float32]], parameters: Sequence[Mapping[str, Any]]
    ) -> list[Outcome]:
        """An outcome for each clip, all of which `refusal` let pass, in one call of the network.

        Raises RuntimeError when the network fails or computes what is not a number.
        """
        del parameters  # no request changes how this kind decodes
        answered = self._network({self._input["name"]: np.stack(questions)})
        probabilities = answered[self._output["name"]]
        paths = best_paths(np.log(np.maximum(probabilities, _SMALLEST)), self._blank)
        return [
            self._outcome(question, path) for question, path in zip(questions, paths, strict=True)
        ]

    def describe(self, question: NDArray[np.float32]) -> Mapping[str, Any]:
        """What the prediction log keeps of a clip."""
        return video.describe(question)

    def _outcome(self, clip: NDArray[np.float32], path: BestPath) -> Outcome:
        text = self._text(path.tokens)
        said = describe_text(text, path.tokens, path.average_log_probability, entropy=path.entropy)
        seconds = len(clip) / video.FRAMES_PER_SECOND
        return Outcome(
            outputs={
                "transcript": text,
                "average_log_probability": path.average_log_probability,
                "token_count": len(path.tokens),
                "compression_ratio": compression_ratio(text),
            },
            record=said | {"chars_per_s": len(text) / seconds},
        )

    def _text(self, tokens: Sequence[int]) -> str:
        joined = "".join(self._tokens[token] for token in tokens)
        if self._delimiter:
            joined = joined.replace(self._delimiter, " ")
        return " ".join(joined.split())
