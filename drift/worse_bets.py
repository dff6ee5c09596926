"""Bets on "the current release gives more bad outputs than the previous one on the same inputs".

Half of the wealth is on any bad output, the rest on the signals one by one; a weighted mean of
e-values is one too, so they are one e-process (`canary.betting`), however often it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from canary.betting import log_mean, worse_bets
from canary.evidence import EProcess
from canary.pairs import BAD
from drift.pair_blocks import DRIFT_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from canary.betting import MeanBets
    from canary.pairs import Values
    from drift.pair_blocks import PairBlock

BET_ON_BAD = 0.5
"""The part of the wealth that is bet on any bad output; the signals share the rest."""


@dataclass(frozen=True, slots=True)
class WorseBets:
    """One e-process a signal, of sessions' mean differences in [-1, 1] against `margin`."""

    margin: float
    by_signal: Mapping[str, EProcess]

    @classmethod
    def begun(cls, margin: float) -> WorseBets:
        """Nothing bet yet; `margin` is the difference that is forgiven, in [0, 1)."""
        return cls(margin, {name: nothing_bet(worse_bets(margin)) for name in _parts()})

    def after(self, block: PairBlock) -> WorseBets:
        """With one more block of sessions that were not counted before."""
        bets = worse_bets(self.margin)
        told = {
            name: process.after(payoffs(bets, block.differences[name]))
            if name in block.differences
            else process
            for name, process in self.by_signal.items()
        }
        return replace(self, by_signal=told)

    @property
    def log_e(self) -> float:
        """Natural logarithm of the e-value of "worse", over all signals."""
        return log_mean((part, self.by_signal[name].log_e) for name, part in _parts().items())


def nothing_bet(bets: MeanBets) -> EProcess:
    """The wealth of `bets` before the first value."""
    return EProcess(bets.weights, (0.0,) * len(bets.weights))


def payoffs(bets: MeanBets, values: Values) -> NDArray[np.float64]:
    """Natural logarithms of what each of `bets` pays for sessions' means."""
    return bets.log_payoffs((above / below, count) for above, below, count in values)


def _parts() -> dict[str, float]:
    """The part of the wealth that is bet on each signal; they add to 1."""
    others = [name for name in DRIFT_SIGNALS if name != BAD]
    return {BAD: BET_ON_BAD, **dict.fromkeys(others, (1 - BET_ON_BAD) / len(others))}
