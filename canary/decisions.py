"""The nine decisions of a rollout: where each may be made, and where it leads."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from canary.states import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canary.states import Rollout


class DecisionName(StrEnum):
    """What to do next, as the journal names it."""

    HOLD = "hold"
    ADVANCE = "advance"
    PROMOTE = "promote"
    SETTLE = "settle"
    PAUSE = "pause"
    ROLL_BACK = "roll-back"
    REJECT = "reject"
    HALT = "halt"
    END = "end"
    """Of an experiment, whose time is over."""


BY_A_PERSON = "waits for a person"
"""The rule of a HOLD in a step with `manual`, when nothing else is missing."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision, why it was made, by which rule, and the evidence it was made on (for people)."""

    name: DecisionName
    reason: str
    rule: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether everything is there but a person's word."""
        return self.rule == BY_A_PERSON

    def to_json(self) -> dict[str, Any]:
        """Part of the body of a `decided` entry."""
        return {
            "decision": self.name.value,
            "reason": self.reason,
            "rule": self.rule,
            "evidence": dict(self.evidence),
        }


@dataclass(frozen=True, slots=True)
class DecisionKind:
    """What a decision means for the state; `phase` is None when it stays as it is.

    `ends_block`: its time was set by the clock or by request counts, so the open block may count.
    """

    phase: Phase | None
    legal_in: tuple[Phase, ...]
    ends_block: bool = False
    turns_back: bool = False

    @property
    def moves_on(self) -> bool:
        """Whether the next step begins."""
        return self.phase in (Phase.SHIFTING, Phase.PROMOTED)

    def next_step(self, rollout: Rollout) -> int:
        """The index of the step after the decision."""
        if self.phase is Phase.PROMOTED:
            return len(rollout.plan.steps) - 1
        return rollout.step + 1 if self.phase is Phase.SHIFTING else rollout.step


_LIVE_PHASES = (Phase.SHIFTING, Phase.PROMOTED, Phase.BAKING, Phase.SETTLED)

DECISIONS: Mapping[str, DecisionKind] = {
    DecisionName.HOLD: DecisionKind(None, tuple(Phase)),
    DecisionName.ADVANCE: DecisionKind(Phase.SHIFTING, (Phase.SHIFTING,), ends_block=True),
    DecisionName.PROMOTE: DecisionKind(Phase.PROMOTED, (Phase.SHIFTING,), ends_block=True),
    DecisionName.SETTLE: DecisionKind(Phase.SETTLED, (Phase.BAKING,), ends_block=True),
    DecisionName.PAUSE: DecisionKind(Phase.PAUSED, (Phase.SHIFTING,), ends_block=True),
    DecisionName.ROLL_BACK: DecisionKind(Phase.ROLLING_BACK, _LIVE_PHASES, turns_back=True),
    # While shifting, only a candidate that got nothing but copies so far can be rejected.
    DecisionName.REJECT: DecisionKind(
        Phase.REJECTED, (Phase.LOADING, Phase.LOADED, Phase.SHIFTING), turns_back=True
    ),
    DecisionName.HALT: DecisionKind(
        Phase.HALTED, tuple(phase for phase in Phase if phase is not Phase.HALTED)
    ),
    DecisionName.END: DecisionKind(Phase.RETURNING, (Phase.SHIFTING,), ends_block=True),
}
