"""Bounds for faults that are too rare to resample.

A bootstrap of 300 utterances without one error says that the rate is zero, exactly. The exact
binomial bound (Clopper & Pearson 1934; "rule of three") says what such a sample really shows:
at 97.5 %, up to 3.7 faulty utterances in 300. A gate never claims less than this.
"""

from __future__ import annotations

from dataclasses import dataclass


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

    def scaled(self, factor: float) -> RareEvents:
        """The same shares in a sample `factor` times as large."""
        return RareEvents(self.events * factor, self.trials * factor, self.cost, self.credit)


def _share_upper(events: float, trials: float, tail: float) -> float:
    if events >= trials:
        return 1.0
    from scipy.special import betaincinv

    return float(betaincinv(events + 1, trials - events, 1 - tail))
