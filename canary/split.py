"""Whether traffic is split as the route says: a sequential test on the arms of new sessions.

A route sends a session to the candidate when the hash of its name falls below the weight, so each
new session is an independent draw with the configured chance r, whatever it does later. Requests
are not: one session with many of them would look like a wrong split. Sessions are therefore
counted once, when they are first seen in an epoch.

**The bet.** Of n new sessions k came to the candidate. A bet on the odds ratio t pays
t^k / (1 - r + t r)^n, the likelihood ratio of a share with t times the odds of r. It is an
e-process under every share up to r, and so against "the share is at most r"; with the arms changed
it is one against "at least r". Half of the wealth is bet on each side, against the ends of an
interval around r: a mismatch smaller than `TOLERANCE` of the odds harms nobody.

The same sessions are new again in the next epoch and fall on the sides that they fell on before,
so the tests of two epochs are not independent: each starts anew, and they share one alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from canary.evidence import NODES, EProcess, RatioBets

SPLIT_ALPHA = 0.001
"""The chance that a rollout whose split is right is ever paused for it."""

TOLERANCE = 0.1
"""Relative difference of the odds that counts as the configured split."""

SETTLES_S = 5.0
"""Seconds after a route was written in which its split is not judged: a release that is slower is
heard of later, and until then seems to get less."""

_LARGEST = 50.0
"""The largest odds ratio that is bet on."""


@dataclass(frozen=True, slots=True)
class SplitCheck:
    """The test of one epoch: the configured share, the sessions of both arms, and the wealth."""

    configured: float = 0.0
    candidate: int = 0
    baseline: int = 0
    too_many: EProcess | None = None
    too_few: EProcess | None = None

    def after(self, candidate: int, baseline: int, configured: float) -> SplitCheck:
        """With more new sessions; `configured` is the candidate's share, from 0 to 1.

        Another configured share begins another epoch. With a share of 0 or 1 there is nothing to
        test.
        """
        if not 0 < configured < 1:
            return self
        if configured != self.configured:
            return SplitCheck(configured).after_one(candidate, baseline)
        return self.after_one(candidate, baseline)

    def after_one(self, candidate: int, baseline: int) -> SplitCheck:
        """With more new sessions of the same epoch."""
        bets, total = split_bets(), candidate + baseline
        odds = self.configured / (1 - self.configured)
        most, least = odds * (1 + TOLERANCE), odds / (1 + TOLERANCE)
        more = bets.log_payoffs(candidate, total, most / (1 + most))
        fewer = bets.log_payoffs(baseline, total, 1 / (1 + least))
        nothing = EProcess.of(bets)
        return SplitCheck(
            self.configured,
            self.candidate + candidate,
            self.baseline + baseline,
            (self.too_many or nothing).after(more),
            (self.too_few or nothing).after(fewer),
        )

    @property
    def log_e(self) -> float:
        """Natural logarithm of the wealth."""
        if self.too_many is None or self.too_few is None:
            return 0.0
        return float(np.logaddexp(self.too_many.log_e, self.too_few.log_e)) - math.log(2)

    def mismatch(self, epochs: int) -> str:
        """What is wrong with the split, empty when nothing says so. `epochs` share the alpha."""
        if self.log_e < -math.log(SPLIT_ALPHA / epochs):
            return ""
        total = self.candidate + self.baseline
        return (
            f"{self.candidate} of {total} new sessions came to the candidate "
            f"({self.candidate / total:.1%}), the route says {self.configured:.0%}"
        )


@cache
def split_bets() -> RatioBets:
    """Bets on odds ratios above 1, evenly spread over their logarithm."""
    points, weights = np.polynomial.legendre.leggauss(NODES)
    ratios = np.exp((points + 1) / 2 * math.log(_LARGEST))
    return RatioBets(1.0, tuple(ratios.tolist()), tuple((weights / weights.sum()).tolist()))
