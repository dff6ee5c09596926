"""How far a variant's probabilities are from Keras's, and how often its transcripts are the same.

Over real clips, or over a few made here from a fixed seed when there are none. It never says
whether a difference is small enough: that is the gate's question, asked of words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.conversion.ctc_agreement import agreement
from pipelines.conversion.lip_reading.architecture import CLIP
from pipelines.conversion.lip_reading.network import INPUT, OUTPUT
from registry.errors import PermanentEngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    Session = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]

_BATCH = 4
_MADE_UP = 4


@dataclass(frozen=True)
class Reference:
    """Keras's `probabilities` [N, 75, V] of `clips` [N, 75, 46, 140, 1]; `blank` is CTC's."""

    clips: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    blank: int


def reference(model: Any, clips: NDArray[np.float32], blank: int) -> Reference:
    """What the Keras model answers to clips. Raises PermanentEngineError for NaN or infinity."""
    answers = [np.asarray(model(part, training=False)) for part in _batches(clips)]
    probabilities = np.concatenate(answers)
    if not np.isfinite(probabilities).all():
        raise PermanentEngineError(
            "the network computes NaN or infinity on plain clips",
            remedy="check its weights: a training that diverged leaves such",
        )
    return Reference(clips, probabilities, blank)


def measure(session: Session, expected: Reference, variant: str) -> dict[str, float]:
    """Differences of probabilities, and shares of frames and of transcripts that are the same.

    `logits_max` and `logits_mean` are of probabilities, 0 to 1. Raises PermanentEngineError as
    `agreement`.
    """
    found = np.concatenate([session({INPUT: part})[OUTPUT] for part in _batches(expected.clips)])
    return {
        "clips": float(len(found)),
        **agreement(found, expected.probabilities, expected.blank, variant),
    }


def made_up() -> NDArray[np.float32]:
    """Clips [4, 75, 46, 140, 1] in 0..1 of a dark ellipse that opens and closes on grey skin."""
    random = np.random.default_rng(20)
    frames, rows, columns, _ = CLIP
    time = np.arange(frames)[:, None, None]
    down, across = np.arange(rows)[:, None] - rows / 2, np.arange(columns) - columns / 2
    clips = []
    for _ in range(_MADE_UP):
        opening = 4 + 8 * np.abs(np.sin(2 * np.pi * random.uniform(1, 4) * time / frames))
        inside = (down / opening) ** 2 + (across / random.uniform(25, 40)) ** 2 < 1
        grey = np.where(inside, 0.2, random.uniform(0.4, 0.8))
        clips.append(grey + random.normal(0, 0.02, grey.shape))
    return np.clip(np.stack(clips), 0, 1).astype(np.float32)[..., None]


def _batches(clips: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(clips), _BATCH):
        yield clips[start : start + _BATCH]
