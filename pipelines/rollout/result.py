"""What a command tells about a rollout when its controller stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from canary.effects import shares_to_json

if TYPE_CHECKING:
    from canary.ports import Mirror, Share
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
    mirror: Mirror | None = None
    waits_for: tuple[str, ...] | None = None
    """People and roles whose word the rollout waits for (empty: anybody); None: it does not."""
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
            "mirror": self.mirror and [self.mirror.release, self.mirror.percent],
            "waits_for": None if self.waits_for is None else list(self.waits_for),
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
        mirror=serving.mirror,
        waits_for=_waits_for(serving),
        started_at=latest.started_at if latest else None,
        first_evidence_at=latest.first_evidence_at if latest else None,
        decided_at=latest.decided_at if latest else None,
        ended_at=None if serving.rollout or not serving.history else serving.history[-1].ended_at,
    )


def _waits_for(serving: ModelServing) -> tuple[str, ...] | None:
    rollout = serving.rollout
    waits = rollout is not None and rollout.waits and not rollout.approved_by
    return rollout.current.who if rollout is not None and waits else None
