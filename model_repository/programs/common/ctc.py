"""Greedy CTC decoding of a batch: the most probable token of each frame, repeats and blanks out.

A token that is meant twice has a blank between. Source: Graves et al. 2006, "Connectionist Temporal
Classification", section 3.2 (best path decoding).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Path:
    """The best path of one question.

    `average_log_probability` is the mean natural logarithm of the chosen tokens' probabilities, at
    most 0, over the frames that did not choose the blank, so that silence around the speech does
    not raise it; over all frames when every frame chose the blank.
    """

    tokens: tuple[int, ...]
    average_log_probability: float


def best_paths(logits: NDArray[np.float32], blank: int) -> list[Path]:
    """One path for each of the logits [B, frames, vocabulary], of which log-probabilities are some.

    Raises RuntimeError when what would be chosen is not a number.
    """
    chosen = logits.argmax(-1)
    best = np.take_along_axis(logits, chosen[..., None], axis=-1)
    if not np.isfinite(best).all():
        raise RuntimeError("the model computed logits that are not numbers")
    scores = -np.log(np.exp(logits - best).sum(-1, dtype=np.float64))
    spoken = chosen != blank
    fresh = spoken.copy()
    fresh[:, 1:] &= chosen[:, 1:] != chosen[:, :-1]
    return [
        Path(
            tuple(tokens[new].tolist()), float(score[heard if heard.any() else slice(None)].mean())
        )
        for tokens, score, heard, new in zip(chosen, scores, spoken, fresh, strict=True)
    ]
