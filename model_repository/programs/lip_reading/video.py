"""Clips: what can be seen without a model, and which ones no model should be asked.

Pure functions of NumPy arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAMES_PER_SECOND = 25


def refusal(clip: NDArray[np.float32], dims: tuple[int, ...]) -> str:
    """Why a clip must be refused; empty when it has these dims and greys in 0..1."""
    if clip.shape != dims:
        return (
            f"clip is {_shown(clip.shape)}; this model sees {_shown(dims)}: "
            "frames, rows, columns and one grey"
        )
    if not np.isfinite(clip).all():
        return "clip holds NaN or infinity; send greys in [0, 1]"
    low, high = float(clip.min()), float(clip.max())
    if low < 0 or high > 1:
        return f"clip holds greys from {low:g} to {high:g}; send them in [0, 1], divided by 255"
    return ""


def describe(clip: NDArray[np.float32]) -> dict[str, Any]:
    """The prediction log's fields of a clip; only its length when it cannot be seen.

    `brightness` is the mean grey, 0 to 1; `motion` the mean absolute change of a pixel from one
    frame to the next, 0 to 1.
    """
    frames = clip.shape[0] if clip.ndim else 0
    fields: dict[str, Any] = {"frames": frames, "duration_s": frames / FRAMES_PER_SECOND}
    if not clip.size or not np.isfinite(clip).all():
        return fields
    motion = np.abs(np.diff(clip, axis=0)).mean(dtype=np.float64) if frames > 1 else 0.0
    return fields | {
        "brightness": float(clip.mean(dtype=np.float64)),
        "motion": float(motion),
    }


def _shown(dims: tuple[int, ...]) -> str:
    return " x ".join(map(str, dims)) or "a single number"
