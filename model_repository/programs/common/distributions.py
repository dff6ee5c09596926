"""Of a batch of distributions over a vocabulary: the chosen tokens' logarithms, and the entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST = np.float32(-80.0)
"""Logits this far below the best are none: exp(-80) is lost in any sum, and still no denormal."""


def scores_and_entropies(
    logits: NDArray[np.float32], best: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log-probability of the best token and the distribution's entropy, both in nats, [...].

    `logits` [..., vocabulary] may hold minus infinity; `best` [..., 1] is their finite maximum.
    With x = logits - best and Z = sum(exp x): log p = -log Z and H = log Z - sum(x exp x) / Z.
    """
    below = np.maximum(logits - best, _LEAST)
    shares = np.exp(below)
    total = np.add.reduce(shares, axis=-1, dtype=np.float64)
    # In place: another pass over a large vocabulary costs more than the sum itself.
    np.multiply(below, shares, out=below)
    spread = np.add.reduce(below, axis=-1, dtype=np.float64)
    scores = -np.log(total)
    return scores, -scores - spread / total
