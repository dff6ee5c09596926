"""Sequential tests on counts, which stay valid however often and whenever they are looked at.

An e-process is a bet against a null hypothesis that cannot be expected to win while the null is
true. By Ville's inequality it ever reaches 1/alpha with a chance of at most alpha, so a rollout
may look after every block and act at the first look that is high enough.

**The bet.** In one block of traffic the candidate answered n_c of n requests, the measured share
is r = n_c / n, and K of N events (errors, slow answers) were its own. Against "the candidate's
rate of events is at most m times the baseline's", a bet on the rate ratio t pays

    (t / m)^K * ((1 - r + m r) / (1 - r + t r))^N

which for m = 1 is t / (1 - r + t r) for each event of the candidate and 1 / (1 - r + t r) for each
of the baseline: the likelihood ratio of Lindon & Malek, "Anytime-valid inference for multinomial
count data", NeurIPS 2022, for one stratum of constant share. Payoffs of blocks multiply, so the
share may change from block to block; a fixed mixture over t > m (or t < m) is an e-process too.

**Why a block may use its own measured share.** Write C = (1 - r + m r) / (1 - r + t r). Given which
side answered each request, let request i err with chance p_i, independently. Since 1 + x <= e^x,
the logarithm of the expected payoff is at most

    (C t / m - 1) * sum of p_i over the candidate + (C - 1) * sum of p_i over the baseline.

With a mean chance p for the baseline and q p for the candidate this is
n p (r q (C t / m - 1) + (1 - r) (C - 1)), which is 0 at q = m and, since C t / m >= 1 for t >= m,
at most 0 for every q <= m (the mirror image holds for t < m and q >= m). So the expectation is at
most 1 *given the arms' totals*: no assumption on the configured split, and none on the rate, which
may drift from block to block. Two things are needed, and are the caller's duty: requests are
counted whether or not they err, and where a block ends is decided by request counts or by the
clock, never by its events. See `canary.blocks`.

**Sessions.** The proof needs independent units. When a session sends up to s requests that fail
together, each payoff is raised to 1/s: for dependent factors x_1 ... x_s the mean of their
geometric mean is at most the mean of their average (AM-GM), and the same bound follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NODES = 64
"""Bets in a mixture. Any number is valid; over one interval 64 agree with the integral to 7 digits
at 1,000 events, and 32 over each of two (`harm_bets`) to 3."""

MOST_USUAL_HARM = 8.0
"""Most bets on harm lie below so many times the baseline's events, evenly on a log scale."""

USUAL_PART = 0.8
"""The part of the prior that they have."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Events of one block: `events_candidate` of `events_total`, at the measured `share`."""

    events_candidate: int
    events_total: int
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.events_candidate <= self.events_total or not 0 <= self.share <= 1:
            raise ValueError(f"impossible counts: {self}")
        if self.share == 0 < self.events_candidate:
            raise ValueError(f"events of a candidate that got no request: {self}")
        if self.share == 1 and self.events_candidate < self.events_total:
            raise ValueError(f"events of a baseline that got no request: {self}")


@dataclass(frozen=True, slots=True)
class RatioBets:
    """A mixture of bets against "the rate ratio is at most (or at least) `null`".

    `ratios` are the rate ratios bet on, all on one side of `null` for a one-sided test, and
    `weights` their prior weights, which add to 1.
    """

    null: float
    ratios: tuple[float, ...]
    weights: tuple[float, ...]

    def log_payoffs(
        self, events_candidate: ArrayLike, events_total: ArrayLike, share: ArrayLike
    ) -> NDArray[np.float64]:
        """Natural logarithm of each bet's payoff: the arguments' shape, then one axis of bets."""
        ratios = np.asarray(self.ratios)
        shares = np.asarray(share, dtype=np.float64)[..., None]
        candidate = np.asarray(events_candidate, dtype=np.float64)[..., None]
        total = np.asarray(events_total, dtype=np.float64)[..., None]
        expected = np.log1p(shares * (self.null - 1)) - np.log1p(shares * (ratios - 1))
        return np.asarray(candidate * np.log(ratios / self.null) + total * expected)


@dataclass(frozen=True, slots=True)
class ShareBets:
    """A mixture of bets against "at most `limit` of the requests are errors" (0 < limit < 1).

    One arm alone: it says that a release is sick, with nothing to compare it to. A bet on the
    share s pays s / limit for an error and (1 - s) / (1 - limit) for a good answer.
    """

    limit: float
    shares: tuple[float, ...]
    weights: tuple[float, ...]

    def log_payoffs(self, errors: ArrayLike, requests: ArrayLike) -> NDArray[np.float64]:
        """Natural logarithm of each bet's payoff: the arguments' shape, then one axis of bets."""
        shares = np.asarray(self.shares)
        bad = np.asarray(errors, dtype=np.float64)[..., None]
        good = np.asarray(requests, dtype=np.float64)[..., None] - bad
        bad_pays = np.log(shares / self.limit)
        good_pays = np.log1p(-shares) - math.log1p(-self.limit)
        return np.asarray(bad * bad_pays + good * good_pays)


@dataclass(frozen=True, slots=True)
class EProcess:
    """The wealth of a mixture so far: one logarithm for each bet, and the bets' weights."""

    weights: tuple[float, ...]
    log_wealth: tuple[float, ...]

    @classmethod
    def of(cls, bets: RatioBets | ShareBets) -> EProcess:
        """Nothing seen yet: every bet holds 1."""
        return cls(bets.weights, (0.0,) * len(bets.weights))

    def after(self, log_payoffs: NDArray[np.float64], *, requests_per_session: int = 1) -> EProcess:
        """The wealth after one more block; `log_payoffs` has one value for each bet."""
        gained = np.asarray(self.log_wealth) + log_payoffs / requests_per_session
        return EProcess(self.weights, tuple(gained.tolist()))

    @property
    def log_e(self) -> float:
        """Natural logarithm of the mixture's wealth, the e-value."""
        return float(log_mixture(np.asarray(self.log_wealth), self.weights))

    def reaches(self, alpha: float) -> bool:
        """Whether the null may be rejected at level `alpha`; an alpha of 0 never is."""
        return alpha > 0 and self.log_e >= -math.log(alpha)


def log_mixture(log_wealth: NDArray[np.float64], weights: tuple[float, ...]) -> NDArray[np.float64]:
    """Logarithm of the weighted mean of exp(log_wealth) over the last axis, without overflow."""
    highest = log_wealth.max(axis=-1)
    scaled = np.exp(log_wealth - highest[..., None])
    return np.asarray(highest + np.log(scaled @ np.asarray(weights)), dtype=np.float64)


@cache
def harm_bets() -> RatioBets:
    """Bets on "the candidate has more events": rate ratios t above 1.

    Most of the prior is uniform on log t up to `MOST_USUAL_HARM`, where bad releases mostly are.
    The rest is uniform on p = t / (1 + t) in (1/2, 1), the candidate's part of the events at an
    even split, so that every ratio is bet on. Against the second alone it finds three to five
    times the errors some 5 % sooner and nothing later, but for an event more where nearly
    everything fails.
    """
    logs, usual = _uniform(0.0, math.log(MOST_USUAL_HARM), NODES // 2)
    points, any_harm = _uniform(0.5, 1.0, NODES // 2)
    ratios = np.concatenate([np.exp(logs), points / (1 - points)])
    weights = np.concatenate([USUAL_PART * usual, (1 - USUAL_PART) * any_harm])
    return RatioBets(1.0, tuple(ratios.tolist()), tuple(weights.tolist()))


@cache
def no_harm_bets(margin: float) -> RatioBets:
    """Bets on "the candidate has fewer than `margin` times the baseline's events" (margin > 1)."""
    points, weights = _uniform(0.0, 0.5)
    ratios = margin * points / (1 - points)
    return RatioBets(margin, tuple(ratios.tolist()), tuple(weights.tolist()))


@cache
def sick_bets(limit: float) -> ShareBets:
    """Bets on "more than `limit` of the requests are errors", uniform above the limit."""
    points, weights = _uniform(limit, 1.0)
    return ShareBets(limit, tuple(points.tolist()), tuple(weights.tolist()))


def _uniform(
    low: float, high: float, nodes: int = NODES
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gauss-Legendre points inside (low, high) and their weights, which add to 1."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return low + (high - low) * (points + 1) / 2, weights / weights.sum()
