"""What a search found, as values: every candidate with its reason, and what was chosen."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from pipelines.conversion.kind import Recipe
from pipelines.conversion.pareto import Point, front

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Objective = Literal["size", "latency"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one candidate costs and how much quality it loses against FP32 (lower is better).

    The loss has the unit of the metric (a WER of .03 against .02 is a loss of .01) and an
    interval [loss_low, loss_high] of the level that the caller chose.
    """

    loss: float
    loss_low: float
    loss_high: float
    size_bytes: int
    p50_ms: float

    @property
    def is_sound(self) -> bool:
        """Whether all figures are numbers and the interval holds its estimate."""
        figures = (self.loss, self.loss_low, self.loss_high, self.size_bytes, self.p50_ms)
        return all(map(math.isfinite, figures)) and self.loss_low <= self.loss <= self.loss_high


@dataclass(frozen=True, slots=True)
class Refused:
    """A candidate that could not be made or measured, and why."""

    reason: str


@dataclass(frozen=True)
class Candidate:
    """One recipe that was tried: why, what came of it, and whether it may be chosen."""

    recipe: Recipe
    because: str
    outcome: Measured | Refused
    seconds: float
    holds: bool
    on_front: bool = False

    @property
    def verdict(self) -> str:
        """`holds`, `beyond` the margin, or `refused`."""
        if isinstance(self.outcome, Refused):
            return "refused"
        return "holds" if self.holds else "beyond"


@dataclass(frozen=True)
class SearchReport:
    """Everything that was tried, in order, the parent first; what was chosen, and why."""

    objective: Objective
    margin: float
    budget_s: float
    spent_s: float
    candidates: tuple[Candidate, ...]
    chosen: Recipe
    why: str
    untried: Mapping[str, str] = field(default_factory=dict)
    """Ladders that were not climbed to their end, each with its reason."""

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "objective": self.objective,
            "margin": self.margin,
            "budget_s": self.budget_s,
            "spent_s": self.spent_s,
            "candidates": [_candidate_json(one) for one in self.candidates],
            "chosen": self.chosen.to_json(),
            "why": self.why,
            "untried": dict(self.untried),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SearchReport:
        """The inverse of `to_json`."""
        return cls(
            **dict(values)
            | {
                "candidates": tuple(_candidate(one) for one in values["candidates"]),
                "chosen": Recipe.from_json(values["chosen"]),
            }
        )

    def points(self) -> tuple[Point, ...]:
        """Every measured candidate, for the front and its plot."""
        return tuple(
            _point(one, chosen=one.recipe.variant == self.chosen.variant)
            for one in self.candidates
            if isinstance(one.outcome, Measured)
        )

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """A table that fits 80 columns: see COLUMNS."""
        return [_row(one, self.chosen.variant) for one in self.candidates]


COLUMNS = ("variant", "loss (at most)", "MB", "ms", "verdict")
"""Of `SearchReport.rows`. A star marks the front, an arrow the one that was chosen."""


def with_front(tried: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates, those on the front marked."""
    shown = front(_point(one) for one in tried if isinstance(one.outcome, Measured))
    return tuple(replace(one, on_front=one.recipe.variant in shown) for one in tried)


def _point(one: Candidate, *, chosen: bool = False) -> Point:
    outcome = one.outcome
    assert isinstance(outcome, Measured)  # noqa: S101 - callers leave the refused out
    return Point(
        one.recipe.variant,
        outcome.loss,
        outcome.loss_low,
        outcome.loss_high,
        outcome.size_bytes,
        outcome.p50_ms,
        holds=one.holds,
        chosen=chosen,
    )


def _row(one: Candidate, chosen: str) -> tuple[str, str, str, str, str]:
    name = one.recipe.variant + (" *" if one.on_front else "")
    name = f"> {name}" if one.recipe.variant == chosen else f"  {name}"
    if isinstance(one.outcome, Refused):
        return name, "", "", "", one.verdict
    outcome = one.outcome
    loss = f"{outcome.loss:+.4f} ({outcome.loss_high:.4f})"
    return name, loss, f"{outcome.size_bytes / 1e6:.2f}", f"{outcome.p50_ms:.2f}", one.verdict


def _candidate_json(one: Candidate) -> dict[str, Any]:
    return {
        "recipe": one.recipe.to_json(),
        "because": one.because,
        "outcome": asdict(one.outcome),
        "seconds": one.seconds,
        "holds": one.holds,
        "on_front": one.on_front,
    }


def _candidate(values: Mapping[str, Any]) -> Candidate:
    found = values["outcome"]
    outcome = Refused(**found) if "reason" in found else Measured(**found)
    return Candidate(
        **dict(values) | {"recipe": Recipe.from_json(values["recipe"]), "outcome": outcome}
    )
