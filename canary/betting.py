"""Bets on the mean of bounded values, which stay valid however often they are looked at.

Against "the mean of d in [-1, 1] is at most m" a bet of the fraction l pays 1 + l (d - m), which
cannot be expected to win while that is true, and is positive for 0 <= l < 1 / (1 + m). Payoffs
multiply; a mixture over l, fixed beforehand, needs no guess of the effect (Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", JRSS B 2024, section 4). By Ville's
inequality the wealth ever reaches 1/alpha with a chance of at most alpha. The mirror image,
1 + l (m - d), is evidence that the mean is below m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from canary.evidence import NODES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class MeanBets:
    """A mixture of bets against "the mean is at most `limit`" (or at least, where `below`).

    `fractions` are the parts of the wealth that are put at risk, `weights` their prior weights,
    which add to 1. No fraction can lose everything with one value.
    """

    limit: float
    below: bool
    fractions: tuple[float, ...]
    weights: tuple[float, ...]

    def log_payoffs(self, values: Iterable[tuple[float, int]]) -> NDArray[np.float64]:
        """Natural logarithm of each bet's payoff for (value, how often it was seen)."""
        seen = np.asarray(tuple(values), dtype=np.float64).reshape(-1, 2)
        signed = self.limit - seen[:, 0] if self.below else seen[:, 0] - self.limit
        factors = np.log1p(signed[:, None] * np.asarray(self.fractions))
        return np.asarray(seen[:, 1] @ factors)


@cache
def worse_bets(margin: float = 0.0) -> MeanBets:
    """Bets on "more bad outputs than the other release plus `margin`", differences in [-1, 1]."""
    return _bets(margin, below=False, most=1 / (1 + margin))


@cache
def no_worse_bets(margin: float) -> MeanBets:
    """Bets on "the candidate has fewer bad outputs than the baseline plus `margin`"."""
    return _bets(margin, below=True, most=1 / (1 - margin))


@cache
def share_bets(limit: float) -> MeanBets:
    """Bets on "more than `limit`" of values in [0, 1]."""
    return _bets(limit, below=False, most=1 / limit)


def _bets(limit: float, *, below: bool, most: float) -> MeanBets:
    """Fractions uniform in (0, `most`), where one value could lose `most` of them all.

    Twice the bad outputs ask for a third of that, and outputs that are bad for the same inputs in
    both releases for nearly all of it, so nothing speaks for one end.
    """
    points, weights = np.polynomial.legendre.leggauss(NODES)
    fractions = most * (points + 1) / 2
    return MeanBets(limit, below, tuple(fractions.tolist()), tuple((weights / 2).tolist()))


def log_mean(log_values: Iterable[tuple[float, float]]) -> float:
    """Logarithm of the weighted sum of e-values, from (weight, logarithm) pairs."""
    terms = [math.log(weight) + log_e for weight, log_e in log_values]
    highest = max(terms)
    return highest + math.log(math.fsum(math.exp(term - highest) for term in terms))
