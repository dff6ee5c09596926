"""One observation of a rollout under way, and what every rule asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from canary.blocks import MIN_BLOCK_REQUESTS
from canary.decisions import Decision, DecisionName
from canary.observing import open_block
from canary.pairs import MIN_BLOCK_SESSIONS

if TYPE_CHECKING:
    from canary.blocks import Observation
    from canary.metrics import Evidence
    from canary.pair_evidence import PairEvidence
    from canary.plan import Step
    from canary.states import ModelServing, Rollout

MAX_CRASHES = 3
"""Crashes of a candidate that its supervisor may hide before it counts as failed."""

BY_HEALTH = "health"
BY_EVIDENCE_OF_HARM = "evidence of harm"
BY_EVIDENCE_OF_NO_HARM = "evidence of no harm beyond the margin"
BY_TIME_AND_VOLUME = "no evidence of harm after time and volume"
BY_TOO_LITTLE = "too little to decide on"
BY_SPLIT = "the split is not the configured one"
BY_LIMITS = "absolute limits"
BY_ENGINE = "an engine could not act"


@dataclass(frozen=True, slots=True)
class Case:
    """The state of a rollout with one observation in it."""

    serving: ModelServing
    rollout: Rollout
    observation: Observation

    @property
    def now(self) -> float:
        """When it was looked."""
        return self.observation.at

    @property
    def evidence(self) -> Evidence:
        """What the traffic of both arms adds up to."""
        return self.rollout.evidence

    @property
    def pairs(self) -> PairEvidence:
        """What the answers to the same inputs add up to."""
        return self.rollout.pairs

    @property
    def step(self) -> Step:
        """The plan's step."""
        return self.rollout.current

    @property
    def turning_back(self) -> DecisionName:
        """How a candidate is turned back: one that got only copies never had any traffic."""
        untouched = self.rollout.before_traffic
        return DecisionName.REJECT if untouched else DecisionName.ROLL_BACK

    @property
    def in_doubt(self) -> bool:
        """Whether something speaks against the candidate, though not enough to turn it back."""
        return self.evidence.in_doubt or self.pairs.in_doubt

    def make(self, name: DecisionName, reason: str, rule: str = "") -> Decision:
        """A decision with the evidence that it was made on."""
        told = self.evidence.to_json() if self.evidence.seen.candidate.requests else {}
        if self.pairs.seen.pairs:
            told = {**told, "pairs": self.pairs.to_json()}
        return Decision(name, reason, rule, told)

    def trouble_of_candidate(self) -> str:
        """Why the candidate's health turns it back, empty when it does not."""
        candidate = self.rollout.candidate
        belief, status = (
            self.serving.belief(candidate),
            self.observation.revisions.get(candidate),
        )
        if belief is not None and status is not None and belief.restarts is not None:
            crashes = status.restarts - belief.restarts
            if crashes >= MAX_CRASHES:
                return f"release {candidate} crashed {crashes} times"
        if belief is not None and belief.memory is not None and belief.memory.trouble:
            return f"release {candidate}: {belief.memory.trouble}"
        lost = self.serving.hopeless(candidate, self.now)
        return f"release {candidate}: {lost}" if lost else ""

    def trouble_of(self, release: int | None) -> str:
        """Why a proven release will not serve again by itself, empty when it may."""
        lost = "" if release is None else self.serving.hopeless(release, self.now)
        return f"release {release}: {lost}" if lost else ""

    def came(self) -> int:
        """What the step counts, open blocks included: the candidate's answers, or pairs."""
        if self.step.shadow:
            return self.rollout.step_pairs + self._open_pairs()
        block = open_block(self.rollout, self.observation)
        return self.rollout.step_requests + (block.candidate.requests if block else 0)

    def _open_pairs(self) -> int:
        counts = self.observation.pairs
        counted = self.pairs.at == self.now
        return 0 if counts is None or counted else counts.pairs

    @property
    def needed(self) -> int:
        """How many of these the step asks for."""
        if self.step.shadow:
            return max(self.step.min_pairs, MIN_BLOCK_SESSIONS)
        return max(self.step.min_requests, MIN_BLOCK_REQUESTS)

    @property
    def harmless(self) -> bool:
        """Whether what the step measures rules harm beyond the margin out."""
        return self.pairs.harmless if self.step.shadow else self.evidence.harmless

    @property
    def capped(self) -> bool:
        """Whether the next step has more weight than may be given without evidence of no harm."""
        plan, follows = self.rollout.plan, self.rollout.follows
        return follows > plan.cap and not (self.evidence.harmless or self.pairs.harmless)
