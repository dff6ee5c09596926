"""The numbers of a gate's policy: limits, floors and margins, by metric, baseline and slice.

Only their shapes and ranges: which apply to what, `policy` and `questions` say.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

# A limit of zero can never be shown by a sample; above 1, nearly every word is wrong.
Rate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Points = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Decibels = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
Metric = Literal[
    "first",
    "wer",
    "cer",
    "wrong",
    "empty",
    "looping",
    "bleu",
    "chrf",
    "ter",
    "noise_left",
    "si_sdr_improvement",
    "snr_improvement",
    "pesq",
    "stoi",
]
FIRST = "first"
"""Stands for the first measure of a set's kind, in margins."""
FROZEN = ConfigDict(extra="forbid", frozen=True)


class Limits(BaseModel):
    """Largest values allowed where lower is better: each must be shown, not only measured."""

    model_config = FROZEN

    wer: Rate | None = None
    """Word error rate."""
    cer: Rate | None = None
    """Character error rate."""
    wrong: Rate | None = None
    """Share of utterances whose answer is not the reference, word for word."""
    empty: Rate | None = None
    """Share of utterances with words that were answered with none."""
    looping: Rate | None = None
    """Share of utterances whose answer repeats itself."""
    ter: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Translation edit rate, in points."""
    noise_left: Rate | None = None
    """Energy of the noise after cleaning over that before."""

    def named(self) -> dict[str, float]:
        """Only the limits that were set, by metric."""
        return {name: limit for name, limit in self if limit is not None}


class Floors(BaseModel):
    """Least values allowed where higher is better: each must be shown, not only measured."""

    model_config = FROZEN

    bleu: Points | None = None
    chrf: Points | None = None
    si_sdr_improvement: Decibels | None = None
    snr_improvement: Decibels | None = None
    pesq: Annotated[float, Field(ge=-0.5, le=4.64)] | None = None
    stoi: Rate | None = None

    def named(self) -> dict[str, float]:
        """Only the floors that were set, by metric."""
        return {name: floor for name, floor in self if floor is not None}


def _as_table(value: Any) -> Any:
    return {FIRST: value} if isinstance(value, int | float) else value


MarginTable = Annotated[
    dict[Metric, Points],
    BeforeValidator(_as_table),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 100}, {"type": "object"}]}
    ),
]
"""A margin by metric; a bare number is that of the first measure. In the metric's own unit."""


class Margins(BaseModel):
    """How much worse the candidate may be than others on the same utterances, absolute."""

    model_config = FROZEN

    parent: MarginTable = {}
    """Than the unconverted or least converted model."""
    production: MarginTable = {}
    """Than the release that serves now; not asked when none does."""

    def named(self, first: str) -> dict[str, dict[str, float]]:
        """The margins that were set, by baseline and metric; `first` is the first measure."""
        tables = {"parent": self.parent, "production": self.production}
        return {
            baseline: {first if name == FIRST else name: margin for name, margin in table.items()}
            for baseline, table in tables.items()
            if table
        }


class SliceMargins(Margins):
    """Margins of slices, each replacing that of the whole set.

    Directly for all slices; in a table named by a column ("noise") for its slices; in one named by
    a slice ("noise=babble") for it alone. The narrowest wins.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    __pydantic_extra__: dict[str, Margins]

    @property
    def own(self) -> dict[str, Margins]:
        """The tables by column or slice."""
        found: dict[str, Margins] = self.__pydantic_extra__
        return found

    def of(self, part: str, whole: Margins, first: str) -> dict[str, dict[str, float]]:
        """The margins of slice `part`, by baseline and metric."""
        column = part.partition("=")[0]
        found: dict[str, dict[str, float]] = {}
        for margins in (whole, self, self.own.get(column), self.own.get(part)):
            if margins is not None:
                for baseline, table in margins.named(first).items():
                    found[baseline] = {**found.get(baseline, {}), **table}
        return found
