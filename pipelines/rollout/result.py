"""What a command tells about a rollout when its controller stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from canary.effects import shares_to_json

if TYPE_CHECKING:
    from canary.ports import Share
    from canary.rollout import ModelServing, Outcome


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """How it went and where the traffic is now. Times are UTC epoch seconds."""

    model: str
    outcome: Outcome
    reason: str
    rollout: int | None
    candidate: int | None
    baseline: int | None
    live: int | None
    route: tuple[Share, ...]
    started_at: float | None = None
    first_evidence_at: float | None = None
    decided_at: float | None = None
    ended_at: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "model": self.model,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "rollout": self.rollout,
            "candidate": self.candidate,
            "baseline": self.baseline,
            "live": self.live,
            "route": shares_to_json(self.route),
            "started_at": self.started_at,
            "first_evidence_at": self.first_evidence_at,
            "decided_at": self.decided_at,
            "ended_at": self.ended_at,
        }


def result_of(serving: ModelServing, outcome: Outcome, reason: str) -> RolloutResult:
    """The result of the rollout under way, or else of the last one that ended."""
    latest = serving.rollout or (serving.history[-1] if serving.history else None)
    return RolloutResult(
        model=serving.model,
        outcome=outcome,
        reason=reason,
        rollout=latest.number if latest else None,
        candidate=latest.candidate if latest else None,
        baseline=latest.baseline if latest else None,
        live=serving.live,
        route=serving.route or (),
        started_at=latest.started_at if latest else None,
        first_evidence_at=latest.first_evidence_at if latest else None,
        decided_at=latest.decided_at if latest else None,
        ended_at=None if serving.rollout or not serving.history else serving.history[-1].ended_at,
    )
