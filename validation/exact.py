"""Bounds for faults that are too rare to resample.

A bootstrap of 300 utterances without one error says that the rate is zero, exactly. The exact
binomial bound (Clopper & Pearson 1934; "rule of three") says what such a sample really shows:
at 97.5 %, up to 3.7 faulty utterances in 300. A gate never claims less than this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from validation.contrast import Function


@dataclass(frozen=True, slots=True)
class RareEvents:
    """`events` faulty trials of `trials`, in the unit of a rate.

    A faulty trial adds `cost` / `trials` to the rate; what went better than expected takes
    `credit` off it. Events and trials may be fractions, for asking "what if there were more".
    """

    events: float
    trials: float
    cost: float
    credit: float = 0.0

    def upper(self, tail: float) -> float:
        """Upper bound of the rate that is wrong with a chance of at most `tail`."""
        return _share_upper(self.events, self.trials, tail) * self.cost - self.credit

    def p_value(self, limit: float) -> float:
        """Chance, 0 to 1, of at most so many events if the rate were `limit`."""
        share = (limit + self.credit) / self.cost
        if share <= 0 or self.events >= self.trials:
            return 1.0
        if share >= 1:
            return 0.0
        from scipy.special import betainc  # type: ignore[import-untyped] # scipy has no types

        return float(betainc(self.trials - self.events, self.events + 1, 1 - share))

    def passing(self, limit: float, *, truth: float, factor: float, tail: float) -> float:
        """Chance, 0 to 1, that `upper(tail)` is below `limit` in a sample `factor` times as large.

        Taken is that as much changes as here, with losses larger than gains by `truth`.
        """
        from scipy.special import bdtr, bdtrik

        changed = self.events / self.trials * self.cost + self.credit
        share = min(1.0, max(0.0, (changed + truth) / 2 / self.cost))
        credit = max(0.0, (changed - truth) / 2)
        trials = max(1, round(self.trials * factor))
        bound = (limit + credit) / self.cost
        if bound <= 0 or bound >= 1:
            return float(bound >= 1)
        # The most events whose upper bound is below: P(at most so many | bound) < tail.
        events = math.ceil(bdtrik(tail, trials, bound)) - 1 if (1 - bound) ** trials < tail else -1
        return float(bdtr(events, trials, share)) if events >= 0 else 0.0


def _share_upper(events: float, trials: float, tail: float) -> float:
    if events >= trials:
        return 1.0
    from scipy.special import betaincinv

    return float(betaincinv(events + 1, trials - events, 1 - tail))


def rare_faults(
    numerators: NDArray[np.float64],
    denominators: NDArray[np.float64],
    fault_cost: float | None = None,
) -> RareEvents:
    """The faults and gains of a ratio of sums, or of a difference of two; arrays are [utterances].

    `fault_cost` is the numerator to expect of one faulty utterance when none was seen; by default
    its whole denominator.
    """
    trials = int((denominators > 0).sum())
    whole = float(denominators.sum())
    faults = numerators[numerators > 0]
    if faults.size:
        each = float(faults.mean())
    else:
        each = whole / trials if fault_cost is None else fault_cost
    gains = -float(numerators[numerators < 0].sum())
    return RareEvents(min(faults.size, trials), trials, each * trials / whole, gains / whole)


def rare_changes(
    of: Function, ours: NDArray[np.float64], theirs: NDArray[np.float64]
) -> RareEvents:
    """The losses and gains between two systems, for any function `of` sums; lower is better.

    Rows are [utterances, K]. One utterance's loss is what taking only its row from `ours` would
    change; when no row differs, what leaving it out would.
    """
    changes = ours - theirs
    changed = changes[(changes != 0).any(axis=1)]
    if len(changed):
        whole = theirs.sum(axis=0)
        moved = np.nan_to_num(of(whole + changed) - of(whole))
        losses, gains = moved[moved > 0], -float(moved[moved < 0].sum())
        each = float((losses if losses.size else np.abs(moved)).mean())
        return RareEvents(losses.size, len(ours), each * len(ours), gains)
    whole = ours.sum(axis=0)
    each = float(np.abs(np.nan_to_num(of(whole - ours) - of(whole))).mean())
    return RareEvents(0, len(ours), each * len(ours))
