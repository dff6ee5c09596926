"""What a command tells about waves when their coordinator stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from canary.waves_states import ModelWaves, RegionState


@dataclass(frozen=True, slots=True)
class WavesResult:
    """How it went, one line why, and where each region stands. Times are UTC epoch seconds."""

    model: str
    outcome: str
    reason: str
    waves: int | None
    candidate: int | None
    regions: tuple[RegionState, ...]
    owed: dict[str, int]
    started_at: float | None = None
    ended_at: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "model": self.model,
            "outcome": self.outcome,
            "reason": self.reason,
            "waves": self.waves,
            "candidate": self.candidate,
            "regions": [region_to_json(region) for region in self.regions],
            "owed": self.owed,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
        }


def waves_result(state: ModelWaves, outcome: str, reason: str) -> WavesResult:
    """The result of the waves under way, or else of the last ones."""
    latest = state.waves or (state.history[-1] if state.history else None)
    return WavesResult(
        model=state.model,
        outcome=outcome,
        reason=reason,
        waves=latest.number if latest else None,
        candidate=latest.candidate if latest else None,
        regions=latest.regions if latest else (),
        owed=dict(state.owed),
        started_at=latest.started_at if latest else None,
        ended_at=None if state.waves or not state.history else state.history[-1].ended_at,
    )


def region_to_json(region: RegionState) -> dict[str, Any]:
    """What the home's journal says of a region."""
    return {
        "region": region.name,
        "standing": region.standing.value,
        "baseline": region.baseline,
        "cut_off_since": region.cut_off_since,
        "reason": region.trouble or region.why,
    }
