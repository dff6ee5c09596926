"""How far a variant's logits are from PyTorch's, and how often its transcripts are the same.

Over real questions, or over a few sounds made here from a fixed seed when there are none. It never
says whether a difference is small enough: that is the gate's question, asked of words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.conversion.ctc_agreement import agreement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_BATCH = 8


@dataclass(frozen=True)
class Reference:
    """PyTorch's `logits` [N, P, V] for the inputs `feed`, N rows each; `blank` is CTC's."""

    feed: Mapping[str, NDArray[Any]]
    logits: NDArray[np.float32]
    blank: int


def reference(network: Any, feed: Mapping[str, NDArray[Any]], blank: int) -> Reference:
    """What the PyTorch module answers to `feed`."""
    import torch

    with torch.inference_mode():
        rows = [
            network(*(torch.from_numpy(array) for array in part.values())).numpy()
            for part in _batches(feed)
        ]
    return Reference(feed, np.concatenate(rows), blank)


def measure(session: Any, reference: Reference, variant: str) -> dict[str, float]:
    """Differences of the logits, and shares of frames and of transcripts that are the same.

    `session` maps inputs by name to outputs by name. Raises PermanentEngineError as `agreement`.
    """
    logits = np.concatenate([session(part)["logits"] for part in _batches(reference.feed)])
    return {
        "sounds": float(len(logits)),
        **agreement(logits, reference.logits, reference.blank, variant),
    }


def made_up(samples: int, sample_rate: int) -> list[NDArray[np.float32]]:
    """Five sounds of at most `samples` samples in [-1, 1]: silence, noises, a sweep, a buzz."""
    random = np.random.default_rng(20)
    time = np.arange(samples) / sample_rate
    noise = random.standard_normal(samples)
    sweep = np.sin(2 * np.pi * (100 + 900 * time / time[-1]) * time)
    beats = np.clip(2 * np.sin(2 * np.pi * 4 * time), 0, 1)
    buzz = sum(np.sin(2 * np.pi * 120 * number * time) / number for number in range(1, 20))
    sounds = [0 * time, 0.1 * noise, 0.003 * noise, 0.3 * sweep, 0.2 * buzz * beats]
    return [
        np.clip(sound, -1, 1).astype(np.float32)[: samples - number * samples // 8]
        for number, sound in enumerate(sounds)
    ]


def _batches(feed: Mapping[str, NDArray[Any]]) -> list[dict[str, NDArray[Any]]]:
    count = len(next(iter(feed.values())))
    return [
        {name: array[start : start + _BATCH] for name, array in feed.items()}
        for start in range(0, count, _BATCH)
    ]
