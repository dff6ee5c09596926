"""Greedy CTC decoding of a batch: the most probable token of each frame, repeats and blanks out.

A token that is meant twice has a blank between. Source: Graves et al. 2006, "Connectionist Temporal
Classification", section 3.2 (best path decoding).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .distributions import scores_and_entropies

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Path:
    """The best path of one question.

    `average_log_probability` is the mean natural logarithm of the chosen tokens' probabilities, at
    most 0, over the frames that did not choose the blank, so that silence around the speech does
    not raise it; over all frames when every frame chose the blank. `entropy` is the mean over the
    same frames of their distributions', in nats.
    """

    tokens: tuple[int, ...]
    average_log_probability: float
    entropy: float


def best_paths(logits: NDArray[np.float32], blank: int) -> list[Path]:
    """One path for each of the logits [B, frames, vocabulary], of which log-probabilities are some.

    Raises RuntimeError when what would be chosen is not a number.
    """
    chosen = logits.argmax(-1)
    best = np.take_along_axis(logits, chosen[..., None], axis=-1)
    if not np.isfinite(best).all():
        raise RuntimeError("the model computed logits that are not numbers")
    scores, entropies = scores_and_entropies(logits, best)
    spoken = chosen != blank
    fresh = spoken.copy()
    fresh[:, 1:] &= chosen[:, 1:] != chosen[:, :-1]
    heard = spoken | ~spoken.any(-1, keepdims=True)
    return [
        Path(tuple(tokens[new].tolist()), float(score[said].mean()), float(entropy[said].mean()))
        for tokens, score, entropy, said, new in zip(
            chosen, scores, entropies, heard, fresh, strict=True
        )
    ]
