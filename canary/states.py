"""The state of one model's serving, as values: phases, beliefs, the rollout under way, the past.

Everything here follows from the journal by `canary.fold`; nothing is stored elsewhere. A belief is
what the journal last saw of the world, and may be out of date: a controller that comes back looks
before it acts on one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from canary.phases import AT_FULL_TRAFFIC, BEFORE_TRAFFIC, PAUSABLE, Outcome, Phase
from canary.ports import Mirror, RevisionState
from registry.journal_fold import JournalState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canary.blocks import Observation
    from canary.effects import NumberedEffect
    from canary.memory import MemoryWatch
    from canary.metrics import Evidence
    from canary.pair_evidence import PairEvidence
    from canary.plan import RolloutPlan, Step
    from canary.ports import Share


__all__ = [
    "AT_FULL_TRAFFIC",
    "BEFORE_TRAFFIC",
    "MAX_STARTS",
    "PAUSABLE",
    "Belief",
    "EndedRollout",
    "ModelServing",
    "Outcome",
    "Phase",
    "Rollout",
    "Skip",
]

MAX_STARTS = 3
"""Starts of one revision in a row before it is given up: once, and twice after it died."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of one revision that was started and not stopped since."""

    release: int
    state: RevisionState
    admitted: bool = False
    trouble: str = ""
    """Why it cannot be used: it failed, or starting or admitting it did. Empty otherwise."""
    started_at: float = 0.0
    restarts: int | None = None
    """Crashes that the fleet had counted when the revision was first seen ready."""
    memory: MemoryWatch | None = None
    """None until a ready revision's memory is known."""

    def broken(self, now: float, load_timeout_s: float) -> str:
        """Why waiting for it is of no use, empty when it may still get ready."""
        if self.trouble or self.state is RevisionState.FAILED:
            return self.trouble or "failed"
        late = self.state is RevisionState.STARTING and now - self.started_at > load_timeout_s
        return f"not ready within {load_timeout_s:g} s" if late else ""


@dataclass(frozen=True, slots=True)
class Skip:
    """A person's wish to leave out what is left of step `step`."""

    step: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """One move of traffic from `baseline` to `candidate`, or a way back asked for by a person.

    `target` is where a way back leads: the baseline unless a person named another release.
    """

    number: int
    candidate: int
    baseline: int | None
    target: int | None
    plan: RolloutPlan
    evidence: Evidence
    pairs: PairEvidence
    started_at: float
    phase: Phase = Phase.LOADING
    step: int = 0
    """Index into the plan's steps; counts from the first one that gets traffic."""
    resumes_in: Phase = Phase.LOADING
    """Where a paused or halted rollout goes on."""
    entered_at: float = 0.0
    """When the phase began (after a restart of the controller: when loading was asked for)."""
    held_from: float | None = None
    """Since when the step's route is confirmed and watched; None while it is not."""
    last_block_at: float = 0.0
    step_requests: int = 0
    """The candidate's answers in this step, in complete blocks."""
    step_pairs: int = 0
    """Requests of this step that both releases answered, in complete blocks."""
    mark: Observation | None = None
    """Where the open block begins; None when the next observation begins it."""
    first_evidence_at: float | None = None
    """When the evidence first cast doubt on the candidate: half of what turns it back."""
    decided_at: float | None = None
    reason: str = ""
    pause_wanted: str = ""
    """Why a person asked for a pause that the controller has not made yet."""
    waits: bool = False
    """Whether all that the step asks for is there but somebody's word."""
    approved_by: str = ""
    """Who let the rollout go on from a step with `manual`."""
    skip: Skip | None = None
    """What a person asked for; it counts for its own step only."""

    @property
    def current(self) -> Step:
        """The plan's step."""
        return self.plan.steps[self.step]

    @property
    def follows(self) -> int:
        """Percent of the traffic that the next step gives; this one's at the last."""
        return self.plan.steps[min(self.step + 1, len(self.plan.steps) - 1)].weight

    @property
    def before_traffic(self) -> bool:
        """Whether the candidate never got any traffic but copies."""
        standing = self.phase in (Phase.PAUSED, Phase.HALTED)
        phase = self.resumes_in if standing else self.phase
        return phase in BEFORE_TRAFFIC or (phase is Phase.SHIFTING and bool(self.current.shadow))

    def entered(self, phase: Phase, at: float) -> Rollout:
        """The rollout at the beginning of a phase."""
        return replace(
            self,
            phase=phase,
            entered_at=at,
            held_from=None,
            mark=None,
            waits=False,
            approved_by="",
        )

    @property
    def skip_is_due(self) -> bool:
        """Whether a person's wish to skip is about the step under way."""
        asked = self.skip is not None and self.skip.step == self.step
        return asked and self.phase is Phase.SHIFTING

    def wait_s(self, now: float) -> float:
        """Seconds until the next look: one tick, or less when the step's hold ends before that."""
        tick = self.plan.tick_s
        if self.held_from is None:
            return tick
        held = self.plan.steps[self.step].hold_s if self.phase is Phase.SHIFTING else 0.0
        if self.phase is Phase.BAKING:
            held = self.plan.bake_s
        left = self.held_from + held - now
        return left if 0 < left < tick else tick

    @property
    def weight(self) -> int:
        """Percent of the traffic that the candidate is meant to get in this phase."""
        if self.phase is Phase.SHIFTING:
            return self.current.weight
        return 100 if self.phase in AT_FULL_TRAFFIC else 0

    @property
    def mirror(self) -> Mirror | None:
        """The copies that the candidate is meant to get in this phase."""
        shadow = self.current.shadow if self.phase is Phase.SHIFTING else 0
        return Mirror(self.candidate, shadow) if shadow else None


@dataclass(frozen=True, slots=True)
class EndedRollout:
    """A rollout of the past: its times are UTC epoch seconds."""

    number: int
    candidate: int
    baseline: int | None
    target: int | None
    outcome: Outcome
    reason: str
    started_at: float
    first_evidence_at: float | None
    decided_at: float | None
    ended_at: float


@dataclass(frozen=True, slots=True)
class ModelServing(JournalState):
    """What the journal says of one model's serving."""

    live: int | None = None
    """The release that serves: the baseline until its candidate has all the traffic."""
    served: tuple[int, ...] = ()
    """Releases to go back to, oldest first; the last one is the live one after a rollout."""
    withdrawn: frozenset[int] = frozenset()
    """Releases that were rolled back: never a target by default."""
    route: tuple[Share, ...] | None = None
    """The route last confirmed by looking; None when there is none or it is not known."""
    mirror: Mirror | None = None
    """The copies of that route."""
    retry_to: int | None = None
    """Who answers again in that route."""
    claimed: bool = False
    """Whether the route was written under the newest lease. If not, a controller that does not
    know yet that it was fenced off could still replace it, so it is written again."""
    beliefs: tuple[Belief, ...] = ()
    alias: int | None = None
    """The release that the production alias names, or was given up to name."""
    rollout: Rollout | None = None
    history: tuple[EndedRollout, ...] = ()
    effects: int = 0
    """The number of the last effect started."""
    pending: NumberedEffect | None = None
    """Started, and neither confirmed nor failed."""
    failure: str = ""
    """Why a route could not be written, until a decision was made about it."""
    given_up: frozenset[int] = frozenset()
    """Releases whose revision could not be stopped; tried again after the next look."""
    starts: Mapping[int, int] = field(default_factory=dict)
    """How often each revision was started since the last look."""
    keep_previous: bool = True
    """Whether the release before the live one stays loaded."""
    standing_copies: int = 0
    """Percent of the requests that it answers too, while nothing is rolled out."""
    load_timeout_s: float = 120.0
    """Of the last plan."""

    @property
    def warm(self) -> tuple[int, ...]:
        """Releases that have, or may have, a revision, in growing order."""
        return tuple(sorted(belief.release for belief in self.beliefs))

    @property
    def previous(self) -> int | None:
        """The release to go back to by default; None when there is none."""
        earlier = self.served[: self.served.index(self.live)] if self.live in self.served else ()
        healthy = [release for release in earlier if release not in self.withdrawn]
        return healthy[-1] if healthy else None

    @property
    def serves(self) -> bool:
        """Whether the live release is believed to answer everything that no rollout moves."""
        return self.admitted(self.live) and self.weight_of(self.live) == 100

    @property
    def next_rollout(self) -> int:
        """The number of the next rollout."""
        return max((ended.number for ended in self.history), default=0) + 1

    def belief(self, release: int | None) -> Belief | None:
        """What is believed of the release's revision; None when it has none."""
        return next((belief for belief in self.beliefs if belief.release == release), None)

    def admitted(self, release: int | None) -> bool:
        """Whether the release may get traffic."""
        belief = self.belief(release)
        return belief is not None and belief.admitted

    def hopeless(self, release: int, now: float) -> str:
        """Why the release will not get ready by starting it again, empty when it may.

        A candidate that fails is not started again: failing is what was to be found out.
        """
        belief = self.belief(release)
        exhausted = self.starts.get(release, 0) >= MAX_STARTS
        if belief is None:
            return f"gone again after {MAX_STARTS} starts" if exhausted else ""
        trouble = belief.broken(now, self.load_timeout_s)
        unproven = self.rollout is not None and release == self.rollout.candidate
        return trouble if unproven or exhausted or release in self.given_up else ""

    def weight_of(self, release: int | None) -> int:
        """Percent of the traffic in the confirmed route."""
        shares = self.route or ()
        return next((share.weight for share in shares if share.release == release), 0)

    def with_belief(self, belief: Belief) -> ModelServing:
        """With `belief` in place of the one about the same release."""
        others = [known for known in self.beliefs if known.release != belief.release]
        return replace(self, beliefs=(*others, belief))

    def without_belief(self, release: int) -> ModelServing:
        """With the release's revision known to be gone."""
        return replace(
            self, beliefs=tuple(belief for belief in self.beliefs if belief.release != release)
        )
