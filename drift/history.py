"""What past windows looked like: each one's distances, kept as a few numbers a window.

A distance alone says little: a column that differs from day to day is always far from its
reference, and few rows are far from anything. So each distance is measured by its own past. What
is left, the largest of them over all columns, is compared with the largest of each past day.

Days, not windows, are what resemble each other by chance: a day with a large conference differs in
all its windows. And a day's largest value covers all its hours, so a daily cycle costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from drift.policy import DistanceName
from drift.windows import DAY_S, Basis, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

_LEAST_SCALE = 0.25
"""Of a distance over its expected size: one that hardly ever varied is not made infinitely sure."""
_NORMAL_QUARTILES = 1.349
"""Between the quartiles of a normal distribution, in standard deviations."""
_NORMAL_AGAIN = 1e-12


@dataclass(frozen=True, slots=True)
class WindowDistances:
    """The distances of one window from its reference, by column and distance; none is NaN.

    `window_units` and `reference_units` are sessions, which set how large chance is. `release` is
    the one whose reference it was, 0 for the same hours of earlier days, which are nobody's.
    """

    span: Window
    basis: Basis
    window_units: int
    reference_units: int
    values: Mapping[tuple[str, str], float]
    release: int = 0

    @property
    def day(self) -> int:
        """Days since 1970, UTC, in which the window begins."""
        return int(self.span.since // DAY_S)

    @property
    def noise(self) -> float:
        """1 / window units + 1 / reference units: squared distances grow with it."""
        return 1 / self.window_units + 1 / self.reference_units

    def to_json(self) -> dict[str, Any]:
        """A value for the journal: under 1 kB for 12 columns."""
        columns: dict[str, dict[str, float]] = {}
        for (column, distance), value in self.values.items():
            columns.setdefault(column, {})[distance] = float(f"{value:.6g}")
        return {
            "since": self.span.since,
            "until": self.span.until,
            "basis": str(self.basis),
            "release": self.release,
            "window_units": self.window_units,
            "reference_units": self.reference_units,
            "distances": columns,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> WindowDistances:
        """Undo `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            span=Window(float(body["since"]), float(body["until"])),
            basis=Basis(body["basis"]),
            window_units=int(body["window_units"]),
            reference_units=int(body["reference_units"]),
            values={
                (column, distance): float(value)
                for column, found in body["distances"].items()
                for distance, value in found.items()
            },
            release=int(body.get("release", 0)),
        )


@dataclass(frozen=True, slots=True)
class History:
    """Windows that were judged before, as arrays; all of one basis, of unmarked days.

    `squares` are squared distances, float64 [windows, signals], NaN where a window has none;
    `noise` float64 [windows]; `days` int64 [windows]. `signals` names columns and distances.
    """

    signals: tuple[tuple[str, str], ...]
    squares: NDArray[np.float64]
    noise: NDArray[np.float64]
    days: NDArray[np.int64]

    @classmethod
    def none(cls) -> History:
        """No past at all."""
        return cls((), np.empty((0, 0)), np.empty(0), np.empty(0, dtype=np.int64))

    @classmethod
    def of(
        cls,
        windows: Iterable[WindowDistances],
        *,
        basis: Basis,
        release: int = 0,
        marked: Iterable[Window] = (),
    ) -> History:
        """The windows of one basis, and of one release's reference where it is a release's.

        Those that touch a `marked` stretch, in which the traffic or the release is known to have
        been different, are left out: they would hide the next drift.
        """
        spans = tuple(marked)
        kept = [
            window
            for window in windows
            if (window.basis, window.release) == (basis, release)
            and min(window.window_units, window.reference_units) > 0
            and not any(window.span.touches(span) for span in spans)
        ]
        signals = tuple(dict.fromkeys(name for window in kept for name in window.values))
        return cls(
            signals=signals,
            squares=np.array(
                [[_square(window, name) for name in signals] for window in kept]
            ).reshape(len(kept), len(signals)),
            noise=np.array([window.noise for window in kept]),
            days=np.array([window.day for window in kept], dtype=np.int64),
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """One window among the past: standardised distances and each past day's largest one."""

    signals: tuple[tuple[str, str], ...]
    scores: NDArray[np.float64]
    """Of the window, float64 [signals]: deviations over its median, NaN without a past."""
    day_maxima: NDArray[np.float64]
    """Float64 [past days]."""

    @property
    def largest(self) -> float:
        """The window's largest score; minus infinity when there is none."""
        return float(np.nanmax(self.scores)) if np.isfinite(self.scores).any() else -np.inf


def stand(window: WindowDistances, history: History, most_days: int) -> Standing:
    """Where `window` stands among the newest `most_days` days of `history` before its own.

    A squared distance is expected to be a + b * noise: what days differ by, and what a sample of
    that size differs by. Both are fitted to each signal's past, with the window itself and its
    day among it, so that no day is treated differently from the one that is judged.
    """
    signals = history.signals
    mine = np.array([_square(window, name) for name in signals])
    past = np.unique(history.days[history.days < window.day])[-most_days:]
    rows = np.isin(history.days, past) | (history.days == window.day)
    squares = np.concatenate([history.squares[rows], mine[None]])
    noise = np.append(history.noise[rows], window.noise)
    days = np.append(history.days[rows], window.day)
    if not signals or not len(past):
        return Standing(signals, np.full(len(signals), np.nan), np.empty(0))
    scores = standardised(squares, noise)
    largest = np.where(np.isnan(scores), -np.inf, scores).max(axis=1)
    counted = [day for day in past if 2 * np.count_nonzero(days == day) >= _usual(days, past)]
    maxima = np.array([largest[days == day].max() for day in counted])
    return Standing(signals, scores[-1], maxima[np.isfinite(maxima)])


def _square(window: WindowDistances, name: tuple[str, str]) -> float:
    """The distance squared; PSI grows as the square of the others already."""
    value = window.values.get(name, np.nan)
    return value if name[1] == DistanceName.PSI else value**2


def _usual(days: NDArray[np.int64], past: NDArray[np.int64]) -> float:
    """The median number of windows a day: a day with under half of it says little."""
    return float(np.median([np.count_nonzero(days == day) for day in past]))


def standardised(squares: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances over their expected size, in deviations from their median: the same shape."""
    expected = expected_squares(squares, noise)
    ratios = np.sqrt(squares / np.maximum(expected, _NORMAL_AGAIN))
    seen = ~np.isnan(ratios).all(axis=0)
    scores = np.full_like(ratios, np.nan)
    low, middle, high = np.nanquantile(ratios[:, seen], [0.25, 0.5, 0.75], axis=0)
    scale = np.maximum((high - low) / _NORMAL_QUARTILES, _LEAST_SCALE)
    scores[:, seen] = (ratios[:, seen] - middle) / scale
    return scores


def expected_squares(
    squares: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Least squares of a + b * noise for each signal, a and b at least 0: [windows, signals].

    Where the sizes of windows hardly differ, or speak against b > 0, the mean alone is fitted.
    """
    known = ~np.isnan(squares)
    count = np.maximum(known.sum(axis=0), 1)
    sizes = np.where(known, noise[:, None], 0.0)
    values = np.where(known, squares, 0.0)
    mean_size, mean = sizes.sum(axis=0) / count, values.sum(axis=0) / count
    off = np.where(known, noise[:, None] - mean_size, 0.0)
    spread = (off**2).sum(axis=0) / count
    covariance = (off * (values - mean)).sum(axis=0) / count
    varied = spread > _NORMAL_AGAIN * mean_size**2
    slope = np.divide(covariance, spread, out=np.zeros_like(mean), where=varied)
    most = np.divide(mean, mean_size, out=np.zeros_like(mean), where=mean_size > 0)
    slope = np.clip(slope, 0.0, most)
    expected: NDArray[np.float64] = (mean - slope * mean_size) + slope * noise[:, None]
    return expected
