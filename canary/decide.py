"""What one observation decides. Pure: the journal's observations always decide the same again.

Health acts at once, counts act when an e-process says so, time and volume let a rollout go on
only while nothing speaks against it, and what cannot be seen is never taken for good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from canary.blocks import MIN_BLOCK_REQUESTS
from canary.decisions import Decision, DecisionName
from canary.observing import observe, open_block
from canary.ports import RevisionState
from canary.states import Phase

if TYPE_CHECKING:
    from canary.blocks import Observation
    from canary.metrics import Evidence
    from canary.plan import Step
    from canary.states import ModelServing, Rollout

MAX_CRASHES = 3
"""Crashes of a candidate that its supervisor may hide before it counts as failed."""

BY_HEALTH = "health"
BY_EVIDENCE_OF_HARM = "evidence of harm"
BY_EVIDENCE_OF_NO_HARM = "evidence of no harm beyond the margin"
BY_TIME_AND_VOLUME = "no evidence of harm after time and volume"
BY_TOO_LITTLE = "too little to decide on"
BY_ENGINE = "an engine could not act"


def decide(serving: ModelServing, observation: Observation) -> Decision:
    """The decision at `observation.at`; HOLD when there is nothing to decide."""
    after = observe(serving, observation, partial=False)
    if after.rollout is None:
        return Decision(DecisionName.HOLD, "no rollout is under way")
    case = _Case(after, after.rollout, observation)
    phase = case.rollout.phase
    if phase in (Phase.LOADING, Phase.LOADED):
        return _while_loading(case)
    if phase is Phase.SHIFTING:
        return _while_shifting(case)
    if phase in (Phase.PROMOTED, Phase.BAKING, Phase.SETTLED):
        return _while_baking(case)
    return _on_the_way_back(case)


def says_something(serving: ModelServing, observation: Observation) -> bool:
    """Whether an observation changes the state, so that a HOLD is worth an entry."""
    return observe(serving, observation, partial=False) != serving


@dataclass(frozen=True, slots=True)
class _Case:
    """The state with the observation in it."""

    serving: ModelServing
    rollout: Rollout
    observation: Observation

    @property
    def now(self) -> float:
        return self.observation.at

    @property
    def evidence(self) -> Evidence:
        return self.rollout.evidence

    @property
    def step(self) -> Step:
        return self.rollout.plan.steps[self.rollout.step]

    def make(self, name: DecisionName, reason: str, rule: str = "") -> Decision:
        seen = self.evidence.seen.candidate.requests
        return Decision(name, reason, rule, self.evidence.to_json() if seen else {})

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
        lost = self.serving.hopeless(candidate, self.now)
        return f"release {candidate}: {lost}" if lost else ""

    def trouble_of(self, release: int | None) -> str:
        """Why a proven release will not serve again by itself, empty when it may."""
        lost = "" if release is None else self.serving.hopeless(release, self.now)
        return f"release {release}: {lost}" if lost else ""

    def step_requests(self) -> int:
        """The candidate's answers in this step, those of the open block included."""
        block = open_block(self.rollout, self.observation)
        return self.rollout.step_requests + (block.candidate.requests if block else 0)


def _while_loading(case: _Case) -> Decision:
    if case.serving.failure:
        return case.make(DecisionName.HALT, case.serving.failure, BY_ENGINE)
    trouble = case.trouble_of_candidate()
    if trouble:
        return case.make(DecisionName.REJECT, trouble, BY_HEALTH)
    trouble = case.trouble_of(case.rollout.baseline)
    if trouble:
        return case.make(DecisionName.HALT, f"the baseline does not serve; {trouble}", BY_HEALTH)
    return case.make(DecisionName.HOLD, "loading")


def _while_shifting(case: _Case) -> Decision:
    return _by_health(case) or _by_harm(case) or _by_progress(case) or _by_silence(case)


def _by_health(case: _Case) -> Decision | None:
    candidate, baseline = case.trouble_of_candidate(), _baseline_failed(case)
    if candidate and baseline:
        reason = f"neither side serves; {candidate}; {baseline}"
        return case.make(DecisionName.HALT, reason, BY_HEALTH)
    if candidate:
        return case.make(DecisionName.ROLL_BACK, candidate, BY_HEALTH)
    if baseline:
        reason = f"the baseline fails while the candidate serves; {baseline}"
        return case.make(DecisionName.HALT, reason, BY_HEALTH)
    if case.serving.failure:
        return case.make(DecisionName.ROLL_BACK, case.serving.failure, BY_ENGINE)
    return None


def _baseline_failed(case: _Case) -> str:
    baseline = case.rollout.baseline
    belief = case.serving.belief(baseline)
    seen = case.observation.state_of(baseline or 0)
    if belief is not None and seen is RevisionState.FAILED:
        return f"release {baseline}: {belief.trouble or 'failed'}"
    return case.trouble_of(baseline)


def _by_harm(case: _Case) -> Decision | None:
    if case.evidence.baseline_sick:
        share = case.rollout.plan.sick_share
        reason = (
            f"the baseline errs on more than {share:.0%} of its requests, so nothing can be "
            "compared with it; the candidate may be the healthier one"
        )
        return case.make(DecisionName.HALT, reason, BY_EVIDENCE_OF_HARM)
    harm = case.evidence.harmful
    return case.make(DecisionName.ROLL_BACK, harm, BY_EVIDENCE_OF_HARM) if harm else None


def _by_progress(case: _Case) -> Decision | None:
    rollout = case.rollout
    if rollout.held_from is None or case.now - rollout.held_from < case.step.hold_s:
        return None
    if case.evidence.in_doubt:
        return None
    last = rollout.step + 1 == len(rollout.plan.steps) - 1
    name = DecisionName.PROMOTE if last else DecisionName.ADVANCE
    requests = case.step_requests()
    if requests >= max(case.step.min_requests, MIN_BLOCK_REQUESTS):
        reason = f"no evidence of harm after {case.step.hold_s:g} s and {requests} answers"
        return case.make(name, reason, BY_TIME_AND_VOLUME)
    if requests >= MIN_BLOCK_REQUESTS and case.evidence.harmless:
        reason = f"harm beyond {rollout.plan.margin:g} times the baseline's rates is ruled out"
        return case.make(name, reason, BY_EVIDENCE_OF_NO_HARM)
    return None


def _by_silence(case: _Case) -> Decision:
    """Hold, or pause when nothing can be learned by waiting."""
    rollout, plan = case.rollout, case.rollout.plan
    if case.observation.blind:
        reason = f"the counters cannot be read: {case.observation.blind}"
        return case.make(DecisionName.PAUSE, reason, BY_TOO_LITTLE)
    if rollout.held_from is None or case.observation.counters is None:
        return case.make(DecisionName.HOLD, "getting both sides ready")
    if case.now - rollout.last_block_at >= plan.no_traffic_s:
        reason = f"too little traffic for {plan.no_traffic_s:g} s; {_missing(case)}"
        return case.make(DecisionName.PAUSE, reason, BY_TOO_LITTLE)
    return case.make(DecisionName.HOLD, f"step at {rollout.weight} %: {_missing(case)}")


def _missing(case: _Case) -> str:
    """How much more the step needs."""
    rollout, step = case.rollout, case.step
    needed = max(step.min_requests, MIN_BLOCK_REQUESTS)
    requests = max(0, needed - case.step_requests())
    held = case.now - (rollout.held_from if rollout.held_from is not None else case.now)
    seconds = max(0.0, step.hold_s - held)
    if requests:
        total = math.ceil(requests * 100 / rollout.weight)
        return (
            f"needs {requests} more answers of release {rollout.candidate} "
            f"(about {total} requests at {rollout.weight} %) and {seconds:.0f} s"
        )
    return f"needs {seconds:.0f} s more" if seconds else "waiting until a doubt is settled"


def _while_baking(case: _Case) -> Decision:
    rollout = case.rollout
    trouble, rule = case.trouble_of_candidate(), BY_HEALTH
    if not trouble and case.serving.failure:
        trouble, rule = case.serving.failure, BY_ENGINE
    if not trouble and case.evidence.harmful:
        trouble, rule = case.evidence.harmful, BY_EVIDENCE_OF_HARM
    if trouble and rollout.baseline is None:
        reason = f"{trouble}; there is no release to go back to"
        return case.make(DecisionName.HALT, reason, rule)
    if trouble:
        return case.make(DecisionName.ROLL_BACK, trouble, rule)
    bakes_s = case.step.hold_s + rollout.plan.bake_s
    baked = rollout.held_from is not None and case.now - rollout.held_from >= bakes_s
    if baked and rollout.phase is Phase.BAKING:
        reason = f"no harm seen in {bakes_s:g} s with all the traffic"
        return case.make(DecisionName.SETTLE, reason, BY_TIME_AND_VOLUME)
    return case.make(DecisionName.HOLD, "baking")


def _on_the_way_back(case: _Case) -> Decision:
    """Rolling back, rejecting or pausing: only what cannot be done is left to decide."""
    if case.rollout.phase is Phase.HALTED:
        return case.make(DecisionName.HOLD, case.rollout.reason)
    target = case.rollout.target if case.rollout.phase is Phase.ROLLING_BACK else None
    trouble = case.serving.failure or case.trouble_of(target)
    if trouble:
        reason = f"cannot go back to release {case.rollout.target}: {trouble}"
        return case.make(DecisionName.HALT, reason, BY_ENGINE)
    return case.make(DecisionName.HOLD, "going back")
