"""A control chart for one number a window: slow worsening, which window by window looks normal.

An exponentially weighted moving average (Roberts 1959) of standardised values, one-sided: only
worse counts. Its limit is the one with the stated in-control run length, found with the Markov
chain of Brook and Evans (Biometrika 1972) as Lucas and Saccucci describe it (Technometrics 1990).

The run length is stated for independent, normal values of a known mean and deviation; the mean and
deviation of a few windows are neither, so a chart asks for LEAST_WINDOWS of them. Windows of one
day resemble each other, which makes the average vary more than that of independent ones: where it
did so in control, the deviation is widened by as much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WEIGHT = 0.2
"""Of the newest value; a shift of one deviation is found in some 10 windows."""
LEAST_WINDOWS = 50
_STATES = 120
_LOWEST = -8.0
"""Where the average is held from below, in its own deviations: far better is no credit."""
_ROUNDS = 30
_LEAST_DEVIATION = 1e-9


@dataclass(frozen=True, slots=True)
class ControlChart:
    """Limits for window means, higher is worse.

    `run_length` is after how many windows without any change it is expected to call.
    """

    mean: float
    deviation: float
    """Between windows, widened where they are not independent."""
    run_length: float
    limit: float
    """Of the average, in its own deviations."""

    @classmethod
    def of(cls, windows: Sequence[float], run_length: float) -> ControlChart:
        """Limits from in-control windows. Raises ValueError with fewer than LEAST_WINDOWS."""
        values = np.asarray(windows, dtype=np.float64)
        values = values[np.isfinite(values)]
        if len(values) < LEAST_WINDOWS:
            raise ValueError(f"{len(values)} windows are too few, {LEAST_WINDOWS} are needed")
        mean, deviation = float(values.mean()), max(float(values.std(ddof=1)), _LEAST_DEVIATION)
        alone = cls(mean, deviation, run_length, limit_for(run_length))
        widened = deviation * max(1.0, float(np.std(alone.averages(values.tolist()))))
        return replace(alone, deviation=widened)

    @property
    def reach(self) -> float:
        """The average's own deviation, in the units of a window."""
        return self.deviation * math.sqrt(WEIGHT / (2 - WEIGHT))

    def averages(self, windows: Sequence[float]) -> tuple[float, ...]:
        """The moving average after each window, in its own deviations; missing ones change none."""
        scale = math.sqrt(WEIGHT / (2 - WEIGHT))
        average, found = 0.0, []
        for value in windows:
            if math.isfinite(value):
                step = (value - self.mean) / self.deviation
                average = max((1 - WEIGHT) * average + WEIGHT * step, _LOWEST * scale)
            found.append(average / scale)
        return tuple(found)

    def calls(self, windows: Sequence[float]) -> tuple[bool, ...]:
        """Whether the chart calls after each window."""
        return tuple(average > self.limit for average in self.averages(windows))


@cache
def limit_for(run_length: float) -> float:
    """The limit, in deviations of the average, with that in-control run length (2 to 1e6)."""
    if not 2 <= run_length <= 1e6:
        raise ValueError(f"a run length of {run_length} windows cannot be stated")
    low, high = 0.0, 8.0
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        if expected_run_length(middle) < run_length:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def expected_run_length(limit: float, shift: float = 0.0) -> float:
    """Mean number of windows until the average is over `limit`, values off by `shift` deviations.

    The average's range below the limit is cut into _STATES cells; from each the next one follows
    with a normal chance, and the expected steps to leave solve (I - Q) steps = 1.
    """
    scale = math.sqrt(WEIGHT / (2 - WEIGHT))
    edges = np.linspace(_LOWEST, limit, _STATES + 1) * scale
    middles = (edges[:-1] + edges[1:]) / 2
    reach = (edges[None, :] - (1 - WEIGHT) * middles[:, None]) / WEIGHT - shift
    below = _normal(reach)
    below[:, 0] = 0.0  # held from below
    moves = np.diff(below, axis=1)
    steps = np.linalg.solve(np.eye(_STATES) - moves, np.ones(_STATES))
    start = int(np.searchsorted(edges, 0.0, side="right")) - 1
    return float(steps[min(max(start, 0), _STATES - 1)])


def _normal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import ndtr  # type: ignore[import-untyped]  # ships no types

    chances: NDArray[np.float64] = ndtr(values)
    return chances
