"""Alarms of the last thirty days against the month's budget of false ones.

An alarm whose case turned out to be real was worth its call and spends nothing. What nobody knows
yet is counted apart, and so is the difference between few alarms and none that were false.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drift.case import Severity
from drift.policy import DAYS_A_MONTH
from drift.windows import DAY_S

if TYPE_CHECKING:
    from drift.case import DriftState


@dataclass(frozen=True, slots=True)
class Spent:
    """Alarms (cases that asked somebody to act) in thirty days; `budget` is of false ones."""

    alarms: int
    real: int
    """Of them, found to be the model's or the data's, or rolled back."""
    undecided: int
    """Of them, the open one, as long as nothing is known of it."""
    budget: float

    @property
    def unexplained(self) -> int:
        """Ended, and nothing was found: what the budget is for."""
        return self.alarms - self.real - self.undecided


def spent_until(state: DriftState, at: float, budget: float) -> Spent:
    """Count the cases that opened in the thirty days before `at` (UTC epoch seconds)."""
    cases = [*state.ended, *((state.case,) if state.case else ())]
    since = at - DAYS_A_MONTH * DAY_S
    alarms = [
        case for case in cases if case.severity is Severity.ACT and since <= case.opened_at <= at
    ]
    return Spent(
        alarms=len(alarms),
        real=sum(case.real for case in alarms),
        undecided=sum(case.ended_at is None and not case.real for case in alarms),
        budget=budget,
    )
