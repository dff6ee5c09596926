"""The `[drift]` table of `models/NAME.toml`: what is compared, how often, and at what risk."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, model_validator

FINDINGS_SHARE = 0.1
"""Part of every budget that goes to the checks before the distances; the rest is the distances'."""

DAYS_A_MONTH = 30.0
_DAY_S = 86_400.0


class DistanceName(StrEnum):
    """A distance between the values of a column in window and reference."""

    WASSERSTEIN = "wasserstein"
    JENSEN_SHANNON = "jensen-shannon"
    PSI = "psi"


class RollbackMode(StrEnum):
    """What happens when the release itself is found to be worse."""

    AUTOMATIC = "automatic"
    ADVISE = "advise"


class DriftPolicy(BaseModel):
    """What drift checks do. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    false_alarms_per_month: float = Field(default=1.0, gt=0, le=15)
    """Alarms that call a person though nothing changed, in 30 days of traffic without drift."""
    watches_per_month: float = Field(default=4.0, gt=0, le=25)
    """The same for Watch or worse, which is shown and calls nobody."""
    distances: tuple[DistanceName, ...] = (DistanceName.WASSERSTEIN, DistanceName.JENSEN_SHANNON)
    """What is measured of each column; the share of missing values always is."""
    history_days: int = Field(default=60, ge=14, le=366)
    """How many past days the alarm's threshold comes from, at most."""
    alpha: float = Field(default=0.01, gt=0, le=0.2)
    """Chance that a window without drift is called Watch by its sessions alone, over all columns,
    while there are too few past days to compare it with."""
    guard_alpha: float = Field(default=0.05, gt=0, le=0.5)
    """Chance that sessions alone make a window look different. An alarm needs a difference beyond
    this as well as beyond past days."""
    least_effect: float = Field(default=0.1, gt=0, lt=0.8)
    """The Jensen-Shannon distance (natural logarithm) that a window must be large enough to show
    before it is called quiet: a shift of a normal column by 0.28 standard deviations is 0.1."""
    permutations: int = Field(default=999, ge=99, le=20_000)
    bins: int = Field(default=10, ge=2, le=50)
    most_units: int = Field(default=10_000, ge=100)
    """Units of a side that the permutations use; of more, that many are drawn at random."""
    unit: str = "session"
    """The column whose values are independent of each other."""
    columns: tuple[str, ...] = ()
    """Columns to compare; empty for every number that the log holds."""
    window_s: float = Field(default=3600.0, gt=0, le=_DAY_S)
    reference_days: int = Field(default=7, ge=1, le=90)
    """Days whose same hours are the reference; before there are enough, the release's own."""
    least_reference_days: int = Field(default=3, ge=1, le=90)
    """How many of them must have records."""
    seed: int = Field(default=1, ge=0)

    clear_after: int = Field(default=3, ge=1, le=100)
    """Quiet windows in a row that clear a case."""
    cooldown_s: float = Field(default=21_600.0, ge=0, le=30 * _DAY_S)
    """After a case, an alarm of the same columns and no worse opens none for so long."""

    rollback: RollbackMode = RollbackMode.AUTOMATIC
    """`advise` only recommends."""
    attribution_alpha: float = Field(default=0.01, gt=0, le=0.2)
    """Chance that a release's first case falsely finds the release worse; its second has half of
    it, and so on: under twice this over all cases of a release."""
    worse_margin: float = Field(default=0.0, ge=0, lt=0.5)
    """By how much the share of bad outputs must be larger than the previous release's."""
    tolerated: float = Field(default=0.02, gt=0, lt=0.5)
    """A difference that is small enough to close a case, once a larger one is ruled out."""
    most_pairs: int = Field(default=20_000, ge=100)
    """Pairs after which a case that is still open is left to a person."""
    copied_percent: int = Field(default=100, ge=1, le=100)
    """Percent of the requests that the previous release is asked too, to attribute a case."""
    longest_comparison_s: float = Field(default=1800.0, gt=0, le=_DAY_S)
    """How long it is asked, at most, before a look is made again."""
    rollbacks_per_day: int = Field(default=1, ge=0, le=24)
    """Automatic ones, in any 24 hours."""
    rollback_cooldown_s: float = Field(default=21_600.0, ge=0, le=30 * _DAY_S)
    """Time between two automatic rollbacks."""

    @model_validator(mode="after")
    def _consistent(self) -> DriftPolicy:
        if self.watches_per_month < self.false_alarms_per_month:
            raise ValueError(
                f"watches_per_month {self.watches_per_month} is under false_alarms_per_month "
                f"{self.false_alarms_per_month}"
            )
        if self.least_reference_days > self.reference_days:
            raise ValueError(
                f"least_reference_days {self.least_reference_days} is over reference_days "
                f"{self.reference_days}"
            )
        if self.worse_margin >= self.tolerated:
            raise ValueError(
                f"worse_margin {self.worse_margin} is not under tolerated {self.tolerated}"
            )
        if not self.distances:
            raise ValueError("distances is empty: name at least one")
        needed = 1 / self.distance_alpha - 1
        if self.permutations < needed:
            raise ValueError(
                f"{self.permutations} permutations cannot show a chance of {self.alpha}: "
                f"use at least {needed:.0f}"
            )
        return self

    @property
    def distance_alpha(self) -> float:
        """The part of alpha that the distances may spend."""
        return self.alpha * (1 - FINDINGS_SHARE)

    @property
    def finding_alpha(self) -> float:
        """Chance a window, over all columns, that the checks before the distances may spend.

        Their part of the month's false alarms, divided over its windows.
        """
        windows = DAYS_A_MONTH * _DAY_S / self.window_s
        return min(self.alpha, FINDINGS_SHARE * self.false_alarms_per_month / windows)

    @property
    def alarm_days(self) -> float:
        """Share of days on which a distance may be falsely over the alarm's threshold."""
        return self.false_alarms_per_month * (1 - FINDINGS_SHARE) / DAYS_A_MONTH

    @property
    def watch_days(self) -> float:
        """The same for Watch or worse."""
        return self.watches_per_month * (1 - FINDINGS_SHARE) / DAYS_A_MONTH
