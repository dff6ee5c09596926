"""What is told of one rollout, as values: decisions made again, curves of evidence, steps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided, why, and by which rule."""

    decision: str
    reason: str
    rule: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """One decision of the journal, and the one that its observation gives now."""

    sequence: int
    at: float
    weight: int
    """Percent of the traffic that the candidate was meant to get then."""
    recorded: Choice
    again: Choice
    evidence_differs_by: float
    """The largest difference between a recorded log e-value and the one computed again."""

    @property
    def agrees(self) -> bool:
        """Whether name, reason and rule are the same."""
        return self.recorded == self.again


@dataclass(frozen=True, slots=True)
class Curve:
    """One test's e-value over the rollout: natural logarithms, and where it acts."""

    name: str
    acts_at: float
    """-log of the test's alpha."""
    points: tuple[tuple[float, float], ...]
    """(UTC epoch seconds, log e-value), each time that a block of traffic was counted."""

    @property
    def highest(self) -> float:
        """The largest log e-value."""
        return max((value for _, value in self.points), default=0.0)

    @property
    def reached(self) -> bool:
        """Whether the test ever acted."""
        return self.highest >= self.acts_at


@dataclass(frozen=True, slots=True)
class StepAccount:
    """One stretch of a rollout at one share: how long, on how much traffic, and why it ended."""

    title: str
    weight: int
    shadow: float
    """Percent of the requests that were copied to the candidate."""
    began_at: float
    ended_at: float | None
    """None while it is under way."""
    candidate_requests: int
    baseline_requests: int
    """Answers of each arm that were counted as evidence here."""
    pairs: int
    """Requests that both answered, in a shadow step."""
    evidence: tuple[tuple[str, float, float], ...]
    """(test, log e-value at the end, where it acts), for every test."""
    left_by: str
    """The decision, or the kind of entry, that ended it; empty while it is under way."""
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """All of one rollout. Times are UTC epoch seconds."""

    model: str
    rollout: int
    candidate: int
    baseline: int | None
    alpha: float
    outcome: str
    """As it ended, or the phase that it is in."""
    reason: str
    started_at: float
    ended_at: float | None
    decisions: tuple[Replayed, ...]
    curves: tuple[Curve, ...]
    steps: tuple[StepAccount, ...]

    @property
    def disagreements(self) -> tuple[Replayed, ...]:
        """Decisions that came out otherwise."""
        return tuple(replayed for replayed in self.decisions if not replayed.agrees)

    @property
    def moments(self) -> tuple[Replayed, ...]:
        """Decisions that changed something."""
        return tuple(one for one in self.decisions if one.recorded.decision != "hold")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        value = asdict(self)
        value["agrees"] = not self.disagreements
        for plain, one in zip(value["decisions"], self.decisions, strict=True):
            plain["agrees"] = one.agrees
        return value
