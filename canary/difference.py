"""How much two releases differ, as an interval that holds at every moment it is looked at.

Sessions are drawn to the candidate with a chance r, by hash. Of N sessions K_c of the candidate's
and K_b of the baseline's met an event (a failure, a slow answer). Write X = 1/r for a session of
the candidate with an event, -1/(1-r) for one of the baseline, and 0 for any other: its mean is the
difference d of the two releases' chances of an event, whatever those are and however they drift
together. Against "d = m" a bet lam pays 1 + lam (X - m) for each session, so after N sessions

    W(lam) = (1 + lam (1/r - m))^K_c (1 - lam (1/(1-r) + m))^K_b (1 - lam m)^(N - K_c - K_b),

which is a martingale with mean 1 for d = m, and in which only the counts matter (Waudby-Smith &
Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024). A fixed mixture of
positive bets falls as m grows, and one of negative bets rises, so the values of m at which neither
has reached 2/alpha are an interval. By Ville's inequality it misses d at any moment, ever, with a
chance of at most alpha: look as often as you like, and stop when you like.

What it asks for: that sessions are independent of each other (a session's own requests need not
be), that the difference is the same all the time in absolute terms while both rates may drift, and
that a session tells what it will meet soon after it began: one that is under way counts with what
it met so far. A split that is not the configured one would shift X, so the interval is the hull of
those by the configured share and by the measured one. Where only requests can be counted, of which
up to s of one session fail together, the logarithm of W is divided by s, as in `canary.evidence`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from canary.evidence import log_mixture

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

BETS = 48
"""Bets in a mixture. Any number is valid; more than this makes no interval narrower."""

LARGEST_BET = 0.75
"""The largest bet, as a part of the one that could lose everything."""

SMALLEST_BET = 2e-4
"""The smallest one, as a part of the largest: the right size for 10^8 sessions."""

_PRECISION = 2.0**-32
_LOST = -1 + 1e-12
"""A bet that would owe more than it has; only a measured share far from the configured one does."""


@dataclass(frozen=True, slots=True)
class Arms:
    """Units (sessions, or requests) of both arms until now, and those that met the event.

    `share` is the candidate's configured part of them, above 0 and below 1.
    """

    candidate: int
    candidate_events: int
    baseline: int
    baseline_events: int
    share: float

    def __post_init__(self) -> None:
        for units, events in (
            (self.candidate, self.candidate_events),
            (self.baseline, self.baseline_events),
        ):
            if not 0 <= events <= units:
                raise ValueError(f"impossible counts: {self}")
        if not 0 < self.share < 1:
            raise ValueError(f"nothing is compared at a share of {self.share}")


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the candidate's rate less the baseline's lies, both from 0 to 1.

    `rates` are the observed ones of candidate and baseline, None where an arm has no unit yet.
    """

    low: float
    high: float
    rates: tuple[float | None, float | None]

    @property
    def difference(self) -> float | None:
        """The observed one."""
        candidate, baseline = self.rates
        return None if candidate is None or baseline is None else candidate - baseline

    @property
    def differs(self) -> bool:
        """Whether no difference at all is ruled out."""
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "difference": self.difference, "differs": self.differs}


def interval(arms: Arms, *, alpha: float, units_together: int = 1) -> Interval:
    """The difference of the arms' chances of an event, at 1 - alpha at any time (0 < alpha < 1).

    `units_together` is the most units that may meet an event together: 1 for sessions.
    """
    threshold = math.log(2 / alpha) * units_together
    total = arms.candidate + arms.baseline
    measured = arms.candidate / total if arms.candidate and arms.baseline else arms.share
    events = arms.candidate_events, arms.baseline_events

    def more(difference: float) -> bool:
        wealth = log_wealth(*events, total, arms.share, measured, difference)
        return bool(wealth >= threshold)

    def fewer(difference: float) -> bool:
        wealth = log_wealth(*events[::-1], total, 1 - arms.share, 1 - measured, difference)
        return bool(wealth >= threshold)

    rates = (
        arms.candidate_events / arms.candidate if arms.candidate else None,
        arms.baseline_events / arms.baseline if arms.baseline else None,
    )
    return Interval(_largest(more), -_largest(fewer), rates)


def _largest(ruled_out: Callable[[float], bool]) -> float:
    """The largest difference in [-1, 1] that is ruled out, as all below it are; -1 when none is."""
    low, high = -1.0, 1.0
    if not ruled_out(low):
        return low
    while high - low > _PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if ruled_out(middle) else (low, middle)
    return low


def log_wealth(
    events: ArrayLike,
    others: ArrayLike,
    units: ArrayLike,
    share: float,
    measured: ArrayLike,
    difference: float,
) -> NDArray[np.float64]:
    """Natural logarithm of the wealth of bets on more than `difference`; the counts' shape.

    `events` are those of the arm that gets `share` of the `units` of both by the route, and
    `measured` of them really; `others` are the other arm's. Of both shares the one that says less
    counts.
    """
    bets, weights = _bets(share)
    more, fewer, rest = (
        np.asarray(count, dtype=np.float64)[..., None]
        for count in (events, others, np.asarray(units) - np.asarray(events) - np.asarray(others))
    )
    wealth = [
        more * np.log1p(bets * (1 / one - difference))
        + fewer * np.log1p(np.maximum(-bets * (1 / (1 - one) + difference), _LOST))
        + rest * np.log1p(-bets * difference)
        for one in (np.asarray(share)[..., None], np.asarray(measured)[..., None])
    ]
    return np.minimum(*(log_mixture(one, weights) for one in wealth))


@lru_cache(maxsize=64)
def _bets(share: float) -> tuple[NDArray[np.float64], tuple[float, ...]]:
    """Bets evenly spread over their logarithm, and their weights, which add to 1."""
    largest = LARGEST_BET / (1 + 1 / (1 - share))
    points, weights = np.polynomial.legendre.leggauss(BETS)
    logs = math.log(largest) + math.log(SMALLEST_BET) * (1 - points) / 2
    return np.exp(logs), tuple((weights / weights.sum()).tolist())
