"""How often something is done by `benchmarks.capacity`, and what of the times is told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REPEATS = 9


def times(act: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Milliseconds by the clock, of each call."""
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        act()
        found.append(round(1000 * (time.perf_counter() - began), 2))
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and 95 % quantile."""
    return {
        "p50": round(float(np.quantile(values, 0.5)), 2),
        "p95": round(float(np.quantile(values, 0.95)), 2),
    }
