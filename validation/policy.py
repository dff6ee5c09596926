"""`[gate]` of `models/NAME.toml`: what a variant must show, decided before it is measured.

A policy that asks for nothing would pass everything, so it is refused.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# A limit of zero can never be shown by a sample; above 1, nearly every word is wrong.
Rate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
_FROZEN = ConfigDict(extra="forbid", frozen=True)


class Limits(BaseModel):
    """Largest rates allowed, 0 to 1: each must be shown to hold, not only measured."""

    model_config = _FROZEN

    wer: Rate | None = None
    """Word error rate."""
    cer: Rate | None = None
    """Character error rate."""
    wrong: Rate | None = None
    """Share of utterances whose answer is not the reference, word for word."""
    empty: Rate | None = None
    """Share of utterances with words that were answered with none."""
    noise_left: Rate | None = None
    """Energy of the noise after cleaning over that before."""

    def named(self) -> dict[str, float]:
        """Only the limits that were set, by metric."""
        return {name: limit for name, limit in self if limit is not None}


class Margins(BaseModel):
    """How much worse the candidate may be than others on the same utterances, absolute.

    In WER, or in `noise_left` where sound is cleaned.
    """

    model_config = _FROZEN

    parent: Rate | None = None
    """Than the unconverted or least converted model."""
    production: Rate | None = None
    """Than the release that serves now; not asked when none does."""

    def named(self) -> dict[str, float]:
        """Only the margins that were set, by baseline."""
        margins = {"parent": self.parent, "production": self.production}
        return {name: margin for name, margin in margins.items() if margin is not None}


class ContractRules(BaseModel):
    """What the evaluation set's own table must look like."""

    model_config = _FROZEN

    shortest_s: float = Field(default=0.1, gt=0)
    longest_s: float = Field(default=30.0, gt=0)
    text_pattern: str = ""
    """Regular expression that every whole reference matches; empty: any text."""
    allowed: dict[str, tuple[str, ...]] = {}
    """Allowed values by column."""

    @field_validator("text_pattern")
    @classmethod
    def _is_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern


class GatePolicy(BaseModel):
    """The whole table. Keys that it does not know are errors."""

    model_config = _FROZEN

    dataset: str = Field(min_length=1)
    """Folder of the evaluation set, relative to the workspace."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Hash that pins the set."""
    normaliser: Literal["none", "basic"] = "basic"
    cluster: str = "speaker"
    """Column whose utterances are not independent of each other; resampled as one."""
    slices: tuple[str, ...] = ("noise",)
    """Columns whose every value is judged by itself too."""
    resamples: int = Field(default=2000, ge=200, le=100_000)
    confidence: float = Field(default=0.95, ge=0.8, lt=1)
    """Of the two-sided interval: each end is wrong with a chance of (1 - confidence) / 2."""
    seed: int = Field(default=1, ge=0)
    limits: Limits = Limits()
    margins: Margins = Margins()
    slice_limits: Limits = Limits()
    """Limits that every slice must keep; by default none."""
    slice_margins: Margins | None = None
    """Margins that every slice must keep; by default those of the whole set."""
    max_failed: float = Field(default=0.0, ge=0, lt=1)
    """Largest share of utterances that the engine may refuse or fail; they count as empty."""
    min_utterances: int = Field(default=100, ge=2)
    """Fewer, in the whole set or in a slice, are inconclusive."""
    min_clusters: int = Field(default=20, ge=2)
    """As `min_utterances`. With fewer than 20 speakers who differ much, no interval is honest."""
    contract: ContractRules = ContractRules()

    @field_validator("dataset")
    @classmethod
    def _is_relative(cls, dataset: str) -> str:
        if PurePosixPath(dataset).is_absolute():
            raise ValueError("the path is relative to the workspace")
        return dataset

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.limits.named() and not self.margins.named():
            raise ValueError("a gate needs at least one of limits and margins")
        # More resamples resolve smaller tails: twenty beyond the bound make it stable.
        needed = round(20 / ((1 - self.confidence) / 2))
        if self.resamples < needed:
            raise ValueError(f"confidence {self.confidence} needs at least {needed} resamples")
        return self

    @property
    def tail(self) -> float:
        """Chance with which each end of an interval is wrong."""
        return (1 - self.confidence) / 2

    @property
    def margins_of_slices(self) -> Margins:
        """The margins that hold in slices."""
        return self.margins if self.slice_margins is None else self.slice_margins
