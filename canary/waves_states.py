"""The state of a rollout in waves, as values: where each region stands, where the whole heads.

Everything follows from the model's own journal by `canary.waves_fold`. What a region really does is
told by that region's journal and engines; a coordinator looks there (`Seen`) before it acts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from canary.phases import Outcome, Phase
from registry.journal_fold import JournalState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from canary.plan import RolloutPlan
    from canary.states import ModelServing
    from canary.waves_effects import NumberedWaveEffect


class Standing(StrEnum):
    """Where one region stands in the waves. The order is the one of a region that does well."""

    WAITING = "waiting"
    BEGUN = "begun"
    SETTLED = "settled"
    TURNED_BACK = "turned-back"
    """By its own evidence, or by a person in that region."""
    REVERTED = "reverted"
    """Sent back because of another region, or because a person sent all back."""


class Course(StrEnum):
    """Where the whole is heading."""

    FORWARD = "forward"
    STOPPING = "stopping"
    """No further wave begins, and the region under way goes back; what settled stays."""
    REVERTING = "reverting"
    """Every region goes back."""
    PAUSED = "paused"
    """Nothing moves until a person says so."""


class WavesOutcome(StrEnum):
    """How waves ended, or why their coordinator stopped for now."""

    SETTLED = "settled"
    STOPPED = "stopped"
    REVERTED = "reverted"
    PAUSED = "paused"
    IDLE = "idle"
    """No waves are under way, and no region is owed anything that it could be given now."""


@dataclass(frozen=True, slots=True)
class RegionState:
    """What the journal says of one region in the waves under way."""

    name: str
    standing: Standing = Standing.WAITING
    baseline: int | None = None
    """What it goes back to; None when these waves found nothing there to go back to."""
    since_rollout: int = 0
    """The number, in the region's own journal, of the first rollout that belongs to its wave."""
    replicated: bool = False
    """Whether the candidate's files were verified in the region's repository."""
    cut_off_since: float | None = None
    waited_from: float = 0.0
    """From when a region that is cut off is waited for."""
    goes_on: bool = False
    """Whether its own rollout, should it stand still, is to be resumed."""
    trouble: str = ""
    """Why the last effect there failed; empty once somebody resumes the waves."""
    why: str = ""
    """Why it turned back."""


@dataclass(frozen=True, slots=True)
class Waves:
    """One release on its way through the regions, in order."""

    number: int
    candidate: int
    regions: tuple[RegionState, ...]
    reverts: bool
    """Whether one region's rollback sends the others back."""
    plan: RolloutPlan
    reason: str
    started_at: float
    course: Course = Course.FORWARD
    resumes_in: Course = Course.FORWARD
    why: str = ""
    """Why it stops, reverts or pauses."""
    turned_for: str = ""
    """Why it stops or reverts, whatever paused it meanwhile."""
    aliased: bool = False
    """Whether the model registry was told, or could not be."""

    def of(self, name: str) -> RegionState | None:
        """The region's state; None for one that is no part of these waves."""
        return next((region for region in self.regions if region.name == name), None)

    def with_region(self, changed: RegionState) -> Waves:
        """With `changed` in place of the region's former state."""
        return replace(
            self,
            regions=tuple(changed if one.name == changed.name else one for one in self.regions),
        )

    @property
    def current(self) -> RegionState | None:
        """The first region that has not settled: whose wave it is."""
        return next((one for one in self.regions if one.standing is not Standing.SETTLED), None)

    @property
    def heading(self) -> Course:
        """The course, or what a pause interrupted."""
        return self.resumes_in if self.course is Course.PAUSED else self.course

    @property
    def to_send_back(self) -> tuple[RegionState, ...]:
        """Regions that still have to go back, the last one first; empty while going forward."""
        if self.heading is Course.FORWARD:
            return ()
        moved = {Standing.BEGUN}
        if self.heading is Course.REVERTING:
            moved.add(Standing.SETTLED)
        found = (one for one in reversed(self.regions) if one.standing in moved)
        return tuple(one for one in found if one.baseline is not None)

    @property
    def to_finish(self) -> tuple[RegionState, ...]:
        """Regions that began with nothing behind them: their rollout ends by itself, as it will."""
        begun = (one for one in self.regions if one.standing is Standing.BEGUN)
        return tuple(one for one in begun if one.baseline is None)


@dataclass(frozen=True, slots=True)
class EndedWaves:
    """Waves of the past; times are UTC epoch seconds."""

    number: int
    candidate: int
    outcome: WavesOutcome
    reason: str
    started_at: float
    ended_at: float
    regions: tuple[RegionState, ...]


@dataclass(frozen=True, slots=True)
class ModelWaves(JournalState):
    """What the journal says of one model's waves."""

    waves: Waves | None = None
    history: tuple[EndedWaves, ...] = ()
    owed: Mapping[str, int] = field(default_factory=dict)
    """Release by region that was cut off when everybody else went back to it."""
    given_up: frozenset[str] = frozenset()
    """Owed regions that could not be sent back; tried again when somebody resumes."""
    effects: int = 0
    pending: NumberedWaveEffect | None = None

    @property
    def next_number(self) -> int:
        """The number of the next waves."""
        return max((ended.number for ended in self.history), default=0) + 1

    @property
    def order(self) -> tuple[str, ...]:
        """Regions of the waves under way, or else of the last ones."""
        regions: Iterable[RegionState] = ()
        if self.waves is not None:
            regions = self.waves.regions
        elif self.history:
            regions = self.history[-1].regions
        return tuple(region.name for region in regions)


@dataclass(frozen=True, slots=True)
class Seen:
    """One region, by looking: its own journal's word, or why it cannot be reached."""

    cut_off: str = ""
    """Why it cannot be reached; empty when it can. Then nothing else is known."""
    live: int | None = None
    previous: int | None = None
    rolling: int | None = None
    """The candidate of the rollout under way there, whoever began it."""
    phase: Phase | None = None
    why: str = ""
    """Why that rollout stands still."""
    waits: bool = False
    """Whether it waits for somebody's word."""
    driven: bool = False
    """Whether somebody else's controller acts there now."""
    next_rollout: int = 1
    last: tuple[int, int, Outcome, str] | None = None
    """Number, candidate, outcome and reason of the last rollout that ended there."""

    @property
    def stands(self) -> bool:
        """Whether its rollout does nothing until somebody resumes it."""
        return self.phase in (Phase.PAUSED, Phase.HALTED)

    @classmethod
    def of(cls, serving: ModelServing) -> Seen:
        """What a region's own journal says."""
        rollout = serving.rollout
        last = serving.history[-1] if serving.history else None
        return cls(
            live=serving.live,
            previous=serving.previous,
            rolling=None if rollout is None else rollout.candidate,
            phase=None if rollout is None else rollout.phase,
            why="" if rollout is None else rollout.reason,
            waits=rollout is not None and rollout.waits and not rollout.approved_by,
            next_rollout=serving.next_rollout,
            last=None if last is None else (last.number, last.candidate, last.outcome, last.reason),
        )
