"""What one check of a window says, as values: four outcomes, and what they rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drift.budget import Threshold, TooFewDays
    from drift.checks import Finding
    from drift.permutation import ColumnEvidence


@dataclass(frozen=True, slots=True)
class Quiet:
    """No drift, in a window large enough to have shown one that matters."""

    reason: str


@dataclass(frozen=True, slots=True)
class Watch:
    """Something moved, but too little or not surely enough to call a person."""

    reason: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Columns drifted or broke. Opens a case; moves nothing."""

    reason: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotEnoughData:
    """Nothing was seen, and nothing could have been; the numbers are of units (sessions)."""

    reason: str
    window_more: int
    reference_more: int


Outcome: TypeAlias = Quiet | Watch | Alarm | NotEnoughData


@dataclass(frozen=True, slots=True)
class Calibration:
    """What past days say of the window: its largest score, and what that is held against."""

    score: float
    """In deviations of its column's past distances; minus infinity without a past."""
    signal: str
    """Column and distance of the largest score, empty without one."""
    alarm: Threshold | TooFewDays
    watch: Threshold | TooFewDays
    over: Mapping[str, float]
    """Each column's largest score, by name."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome for one window, with everything it rests on."""

    outcome: Outcome
    findings: tuple[Finding, ...]
    columns: tuple[ColumnEvidence, ...]
    not_compared: tuple[str, ...]
    """Monitored columns that the reference does not have."""
    window_rows: int
    window_units: int
    reference_rows: int
    reference_units: int
    unit: str
    """What is independent of each other: `session`."""
    alpha: float
    guard_alpha: float
    false_alarms_per_month: float
    calibration: Calibration

    @property
    def p_value(self) -> float:
        """Smallest corrected p-value over the columns; 1 when none was weighed."""
        return min((column.p_value for column in self.columns), default=1.0)
