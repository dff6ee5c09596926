"""How far the answers of two CTC networks are apart, and how often their transcripts are the same.

It never says whether a difference is small enough: that is the gate's question, asked of words.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.errors import PermanentEngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def agreement(
    found: NDArray[Any], expected: NDArray[Any], blank: int, variant: str
) -> dict[str, float]:
    """Differences of two answers [N, P, V], and shares of frames and of transcripts that agree.

    The differences are of what the networks put out: logits, or probabilities 0 to 1. Raises
    PermanentEngineError when `found`, which `variant` computed, holds NaN or infinity.
    """
    if not np.isfinite(found).all():
        raise PermanentEngineError(
            f"the variant {variant!r} computes NaN or infinity on plain examples",
            remedy="leave it out of the variants, or check the checkpoint's weights",
        )
    off = np.abs(found - expected)
    chosen, wanted = found.argmax(-1), expected.argmax(-1)
    same = [
        collapsed(one, blank) == collapsed(other, blank)
        for one, other in zip(chosen.tolist(), wanted.tolist(), strict=True)
    ]
    return {
        "logits_max": float(off.max()),
        "logits_mean": float(off.mean()),
        "frame_agreement": float((chosen == wanted).mean()),
        "agreement": float(np.mean(same)),
    }


def collapsed(frames: Sequence[int], blank: int) -> list[int]:
    """The tokens of a greedy path: repeats count once, blanks not at all (Graves et al. 2006)."""
    return [token for token, _ in groupby(frames) if token != blank]
