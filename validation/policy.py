"""`[gate]` of `models/NAME.toml`: what a variant must show, decided before it is measured.

A policy that asks for nothing would pass everything, so it is refused.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import PurePosixPath
from typing import Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from validation.contract_rules import ContractRules
from validation.performance import Budgets
from validation.thresholds import FROZEN, Floors, Limits, Margins, SliceMargins

NORMALISER = r"^(none|basic|whisper-english|whisper-basic|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$"


class GatePolicy(BaseModel):
    """The whole table. Keys that it does not know are errors."""

    model_config = FROZEN

    dataset: str = Field(min_length=1)
    """Folder of the evaluation set, relative to the workspace."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Hash that pins the set."""
    revision: str = ""
    """DVC revision of the set; empty: the folder as it is."""
    normaliser: str = Field(default="basic", pattern=NORMALISER)
    """What makes texts comparable: a built-in one, or "module:function"."""
    cluster: str = "speaker"
    """Column whose utterances are not independent of each other; resampled as one."""
    slices: tuple[str, ...] = ("noise",)
    """Columns whose every value is judged by itself too."""
    buckets: dict[str, tuple[float, ...]] = {}
    """Slices by number: growing borders of `duration_s`, `words` (of the reference) or a column."""
    method: Literal["bootstrap", "randomisation"] = "bootstrap"
    """What is drawn again: clusters, or which of the two systems gave a cluster's answers."""
    correction: Literal["holm", "none"] = "holm"
    """Of the claims that a limit is broken, for their number."""
    resamples: int = Field(default=2000, ge=200, le=100_000)
    confidence: float = Field(default=0.95, ge=0.8, lt=1)
    """Of the two-sided interval: each end is wrong with a chance of (1 - confidence) / 2."""
    seed: int = Field(default=1, ge=0)
    power: float = Field(default=0.8, gt=0, lt=1)
    """The chance that reports call enough: to find a regression, and for an equal one to pass."""
    min_power: float = Field(default=0.5, ge=0, lt=1)
    """Least chance that an equal candidate passes a margin; a set that gives less is too small."""
    limits: Limits = Limits()
    floors: Floors = Floors()
    margins: Margins = Margins()
    slice_limits: Limits = Limits()
    """Limits that every slice must keep; by default none."""
    slice_floors: Floors = Floors()
    """As `slice_limits`."""
    slice_margins: SliceMargins = SliceMargins.model_validate({})
    """Margins that slices must keep; by default those of the whole set."""
    max_failed: float = Field(default=0.0, ge=0, lt=1)
    """Largest share of utterances that the engine may refuse or fail; they count as empty."""
    min_utterances: int = Field(default=100, ge=2)
    """Fewer, in the whole set or in a slice, are inconclusive."""
    min_clusters: int = Field(default=20, ge=2)
    """As `min_utterances`. With fewer than 20 speakers who differ much, no interval is honest."""
    budgets: Budgets = Budgets()
    contract: ContractRules = ContractRules()

    @field_validator("dataset")
    @classmethod
    def _is_relative(cls, dataset: str) -> str:
        if PurePosixPath(dataset).is_absolute():
            raise ValueError("the path is relative to the workspace")
        return dataset

    @field_validator("buckets")
    @classmethod
    def _grow(cls, buckets: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        for column, borders in buckets.items():
            if not borders or any(low >= high for low, high in pairwise(borders)):
                raise ValueError(f"the borders of {column} are not growing numbers")
        return buckets

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not (self.limits.named() or self.floors.named() or self.margins.named("")):
            raise ValueError("a gate needs at least one of limits, floors and margins")
        # More resamples resolve smaller tails: twenty beyond the bound make it stable.
        needed = round(20 / self.tail)
        if self.resamples < needed:
            raise ValueError(f"confidence {self.confidence} needs at least {needed} resamples")
        return self

    @model_validator(mode="after")
    def _names_its_slices(self) -> Self:
        known = (*self.slices, *self.buckets)
        if double := sorted({column for column in known if known.count(column) > 1}):
            raise ValueError(f"{double[0]} is named twice by slices and buckets")
        for name in self.slice_margins.own:
            if name.partition("=")[0] not in known:
                raise ValueError(f"slice_margins.{name}: slices are by {', '.join(known) or '-'}")
        return self

    @property
    def tail(self) -> float:
        """Chance with which each end of an interval is wrong."""
        return (1 - self.confidence) / 2

    def margins_of(self, part: str, first: str) -> dict[str, dict[str, float]]:
        """The margins of slice `part`, by baseline and metric; `first` is the first measure."""
        return self.slice_margins.of(part, self.margins, first)
