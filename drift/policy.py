"""The `[drift]` table of `models/NAME.toml`: what is compared, how often, and at what risk."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

FINDINGS_SHARE = 0.1
"""Part of alpha that goes to the checks before the distances; the rest is the distances'."""


class DriftPolicy(BaseModel):
    """What a drift check of one window does. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    alpha: float = Field(default=0.01, gt=0, le=0.2)
    """Chance that a window without drift raises an alarm, over all columns and checks."""
    watch_alpha: float = Field(default=0.05, gt=0, le=0.5)
    """The same for Watch or worse; at least `alpha`."""
    least_effect: float = Field(default=0.1, gt=0, lt=0.8)
    """The smallest Jensen-Shannon distance (natural logarithm) that is worth a person's night:
    a shift of a normal column by 0.28 standard deviations is 0.1."""
    permutations: int = Field(default=999, ge=99, le=20_000)
    bins: int = Field(default=10, ge=2, le=50)
    most_units: int = Field(default=10_000, ge=100)
    """Units of a side that the permutations use; of more, that many are drawn at random."""
    unit: str = "session"
    """The column whose values are independent of each other."""
    columns: tuple[str, ...] = ()
    """Columns to compare; empty for every number that the log holds."""
    window_s: float = Field(default=3600.0, gt=0, le=86_400)
    reference_days: int = Field(default=7, ge=1, le=90)
    seed: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> DriftPolicy:
        if self.watch_alpha < self.alpha:
            raise ValueError(f"watch_alpha {self.watch_alpha} is under alpha {self.alpha}")
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
        """The part of alpha that the checks before them may spend, over all columns."""
        return self.alpha * FINDINGS_SHARE
