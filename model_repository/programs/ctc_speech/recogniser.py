"""A variant that answers: waveforms in, transcripts with their signals out. Knows no server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..common import audio
from ..common.answers import Outcome
from ..common.ctc import best_paths
from ..common.quality import compression_ratio, describe_text
from .inputs import Inputs
from .spelling import load_spelling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from ..common.answers import Settings
    from ..common.ctc import Path as BestPath


class Recogniser:
    """Inputs, decoding and text of one variant; its network runs in another Triton model."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Load the variant in `folder`. Raises RuntimeError when `settings` give no network."""
        if settings.network is None:
            raise RuntimeError("a CTC variant needs the release's network beside it")
        self._network = settings.network
        self._inputs = Inputs.load(folder)
        self._spelling = load_spelling(folder)
        self._blank = int(json.loads((folder / "decoding.json").read_bytes())["blank"])

    def refusal(self, question: NDArray[np.float32], parameters: Mapping[str, Any]) -> str:
        """Why a request with this waveform [n] must be refused; empty when it is sound."""
        rate, longest = self._inputs.sample_rate, self._inputs.window_samples
        return audio.refusal(question, parameters, rate=rate, longest=longest)

    def answer(
        self, questions: Sequence[NDArray[np.float32]], parameters: Sequence[Mapping[str, Any]]
    ) -> list[Outcome]:
        """An outcome for each waveform [n], all of which `refusal` let pass, in one call.

        Raises RuntimeError when the network fails or computes what is not a number.
        """
        del parameters  # no request changes how this kind decodes
        logits = self._network(self._inputs(questions))["logits"]
        paths = best_paths(logits, self._blank)
        texts = self._spelling([path.tokens for path in paths])
        return [
            _outcome(question, path, text, self._inputs.sample_rate)
            for question, path, text in zip(questions, paths, texts, strict=True)
        ]

    def describe(self, question: NDArray[np.float32]) -> Mapping[str, Any]:
        """What the prediction log keeps of a waveform [n]."""
        return audio.describe(question, self._inputs.sample_rate)


def _outcome(waveform: NDArray[np.float32], path: BestPath, text: str, rate: int) -> Outcome:
    said = describe_text(text, path.tokens, path.average_log_probability, entropy=path.entropy)
    return Outcome(
        outputs={
            "transcript": text,
            "average_log_probability": path.average_log_probability,
            "token_count": len(path.tokens),
            "compression_ratio": compression_ratio(text),
        },
        record=said | {"chars_per_s": len(text) * rate / waveform.size},
    )
