"""Kayenta's automated canary analysis, Netflix's judge as Spinnaker ships it.

Read: spinnaker/kayenta `NetflixACAJudge.scala` (tolerance 0.25, confidence 0.98),
`MannWhitneyClassifier.scala` (bounds from the Hodges-Lehmann estimate), `MannWhitney.scala`
(R's asymptotic interval), `IQRDetector.scala` (outliers), `WeightedSumScorer.scala`, and
spinnaker.io/guides/user/canary/best-practices (a lifetime of 3 hours, an interval of 1 hour, 50
points at least, a baseline of the canary's size and age, marginal and pass).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.canary_field.serving import Outcome
from benchmarks.canary_field.traces import (
    BOUNDS,
    ERRORS,
    EXTRA_ERRORS,
    OVER_500_MS,
    REQUESTS,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.canary_field.traces import Counts, Floats, Trace


@dataclass(frozen=True)
class Kayenta:
    """Judged at each interval over all minutes so far (a growing window).

    Two metrics by minute, each a group of half the weight, direction "increase": the share of
    errors, and the share of answers over 500 ms. A score below `marginal` ends the canary at
    once, and the last one must reach `passing`. The candidate's 10 % are compared with a baseline
    of the same size, as the guide asks. A classification of High needs the lower end of the
    confidence interval of the shift above `tolerance` times its estimate.
    """

    weight: int = 10
    interval: int = 60
    lifetime: int = 180
    tolerance: float = 0.25
    confidence: float = 0.98
    marginal: float = 75.0
    passing: float = 95.0

    def roll_out(self, trace: Trace) -> Outcome:
        """The outcome of all runs."""
        at, twice = (BOUNDS.index(size) for size in (self.weight, 2 * self.weight))
        minutes = trace.minutes
        candidate = minutes[:, :, at].copy()
        control = minutes[:, :, twice] - candidate
        candidate[:, ERRORS] += candidate[:, EXTRA_ERRORS]
        seconds = np.full(trace.runs, np.inf)
        for end in range(self.interval, self.lifetime + 1, self.interval):
            going = np.flatnonzero(np.isinf(seconds))
            if not len(going):
                break
            score = self.score(candidate[:end, :, going], control[:end, :, going])
            needed = self.passing if end == self.lifetime else self.marginal
            seconds[going[score < needed]] = end * 60.0
        served = np.arange(len(minutes))[:, None] * 60 < seconds
        requests = (candidate[:, REQUESTS] * served).sum(axis=0, dtype=np.int64)
        harmed = (candidate[:, EXTRA_ERRORS] * served).sum(axis=0, dtype=np.int64)
        return Outcome(seconds, requests, harmed)

    def score(self, candidate: Counts, control: Counts) -> Floats:
        """0 to 100 for each run, from counts by minute (minutes, kinds, runs)."""
        passed = np.zeros(candidate.shape[-1])
        for kind in (ERRORS, OVER_500_MS):
            high = self.is_high(_shares(candidate, kind), _shares(control, kind))
            passed += 50.0 * ~high
        return passed

    def is_high(self, experiment: Floats, control: Floats) -> NDArray[np.bool_]:
        """Whether each row of `experiment` (runs, minutes) lies above its row of `control`.

        A row's minutes without traffic are NaN, and are left out. The lower end of R's asymptotic
        interval lies above a bound just when the one-sided test of the shifted values rejects.
        """
        from scipy.stats import mannwhitneyu  # type: ignore[import-untyped] # scipy has no types

        estimate = hodges_lehmann(experiment, control)
        high = np.zeros(len(experiment), dtype=np.bool_)
        # A shift that is estimated at 0 or less has no lower end above it.
        rows = np.flatnonzero(estimate > 0)
        shifted = experiment[rows] - self.tolerance * estimate[rows, None]
        gaps = np.isnan(shifted).any(axis=1) | np.isnan(control[rows]).any(axis=1)
        options = {"alternative": "greater", "method": "asymptotic"}
        level = (1 - self.confidence) / 2
        whole = rows[~gaps]
        if len(whole):
            test = mannwhitneyu(shifted[~gaps], control[whole], axis=1, **options)
            high[whole] = test.pvalue < level
        for row, values in zip(rows[gaps], shifted[gaps], strict=True):
            other = control[row][~np.isnan(control[row])]
            high[row] = mannwhitneyu(values[~np.isnan(values)], other, **options).pvalue < level
        return high


def hodges_lehmann(experiment: Floats, control: Floats) -> Floats:
    """Median of all differences of each row's values; NaN where an arm has none at all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows of NaN alone
        differences = experiment[:, :, None] - control[:, None, :]
        return np.asarray(np.nanmedian(differences.reshape(len(differences), -1), axis=1))


def _shares(counts: Counts, kind: int) -> Floats:
    """(runs, minutes): the share of events in each minute, NaN without requests or for outliers."""
    requests = counts[:, REQUESTS].T.astype(np.float64)
    shares = np.where(requests > 0, counts[:, kind].T / np.maximum(requests, 1), np.nan)
    return without_outliers(shares)


def without_outliers(shares: Floats) -> Floats:
    """Values beyond three interquartile ranges *and* beyond the 1st or 99th percentile are NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows of NaN alone
        # "weibull" is Commons Math's percentile: at position p (n + 1).
        ends = np.nanpercentile(shares, [1, 25, 75, 99], axis=1, method="weibull")
    first, lower, upper, last = ends[:, :, None]
    reach = 3 * (upper - lower)
    outside = (shares < np.minimum(first, lower - reach)) | (
        shares > np.maximum(last, upper + reach)
    )
    return np.where(outside, np.nan, shares)
