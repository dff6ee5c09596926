"""What one observation decides. Pure: the journal's observations always decide the same again.

Health acts at once, counts act when an e-process says so, time and volume let a rollout go on
only while nothing speaks against it, and what cannot be seen is never taken for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary.absorbing import absorb
from canary.case import (
    BY_ENGINE,
    BY_EVIDENCE_OF_HARM,
    BY_HEALTH,
    BY_LIMITS,
    BY_SPLIT,
    BY_TIME_AND_VOLUME,
    BY_TOO_LITTLE,
    Case,
)
from canary.decisions import Decision, DecisionName
from canary.evidence import EProcess, sick_bets
from canary.ports import RevisionState
from canary.progress import by_progress, by_silence
from canary.states import Phase

if TYPE_CHECKING:
    from canary.blocks import Observation
    from canary.states import ModelServing


def decide(serving: ModelServing, observation: Observation) -> Decision:
    """The decision at `observation.at`; HOLD when there is nothing to decide."""
    after = absorb(serving, observation, partial=False)
    if after.rollout is None:
        return Decision(DecisionName.HOLD, "no rollout is under way")
    case = Case(after, after.rollout, observation)
    phase = case.rollout.phase
    if phase in (Phase.LOADING, Phase.LOADED):
        return _while_loading(case)
    if phase is Phase.SHIFTING:
        return _while_shifting(case)
    if phase in (Phase.PROMOTED, Phase.BAKING, Phase.SETTLED):
        return _while_baking(case)
    return _on_the_way_back(case)


def says_something(serving: ModelServing, observation: Observation, decision: Decision) -> bool:
    """Whether an observation or its HOLD changes the state, so that it is worth an entry."""
    rollout = serving.rollout
    if decision.waits and rollout is not None and not rollout.waits:
        return True
    return absorb(serving, observation, partial=False) != serving


def _while_loading(case: Case) -> Decision:
    if case.serving.failure:
        return case.make(DecisionName.HALT, case.serving.failure, BY_ENGINE)
    trouble = case.trouble_of_candidate()
    if trouble:
        return case.make(DecisionName.REJECT, trouble, BY_HEALTH)
    trouble = case.trouble_of(case.rollout.baseline)
    if trouble:
        return case.make(DecisionName.HALT, f"the baseline does not serve; {trouble}", BY_HEALTH)
    return case.make(DecisionName.HOLD, "loading")


def _while_shifting(case: Case) -> Decision:
    return (
        _by_health(case)
        or _by_harm(case)
        or _by_sight(case)
        or by_progress(case)
        or by_silence(case)
    )


def _by_health(case: Case) -> Decision | None:
    candidate, baseline = case.trouble_of_candidate(), _baseline_failed(case)
    if candidate and baseline:
        reason = f"neither side serves; {candidate}; {baseline}"
        return case.make(DecisionName.HALT, reason, BY_HEALTH)
    if candidate:
        return case.make(case.turning_back, candidate, BY_HEALTH)
    if baseline:
        reason = f"the baseline fails while the candidate serves; {baseline}"
        return case.make(DecisionName.HALT, reason, BY_HEALTH)
    if case.serving.failure:
        return case.make(case.turning_back, case.serving.failure, BY_ENGINE)
    return None


def _baseline_failed(case: Case) -> str:
    baseline = case.rollout.baseline
    belief = case.serving.belief(baseline)
    seen = case.observation.state_of(baseline or 0)
    if belief is not None and seen is RevisionState.FAILED:
        return f"release {baseline}: {belief.trouble or 'failed'}"
    return case.trouble_of(baseline)


def _by_harm(case: Case) -> Decision | None:
    if case.evidence.baseline_sick:
        share = case.rollout.plan.sick_share
        reason = (
            f"the baseline errs on more than {share:.0%} of its requests, so nothing can be "
            "compared with it; the candidate may be the healthier one"
        )
        return case.make(DecisionName.HALT, reason, BY_EVIDENCE_OF_HARM)
    harm = case.evidence.harmful or case.pairs.harmful
    return case.make(case.turning_back, harm, BY_EVIDENCE_OF_HARM) if harm else None


def _by_sight(case: Case) -> Decision | None:
    """Pause when what is seen is not what the step is about, or nothing is."""
    if case.observation.blind:
        what = "pairs" if case.step.shadow else "counters"
        reason = f"the {what} cannot be read: {case.observation.blind}"
        return case.make(DecisionName.PAUSE, reason, BY_TOO_LITTLE)
    mismatch = case.evidence.split_mismatch
    return case.make(DecisionName.PAUSE, mismatch, BY_SPLIT) if mismatch else None


def _while_baking(case: Case) -> Decision:
    rollout = case.rollout
    trouble, rule = case.trouble_of_candidate(), BY_HEALTH
    if not trouble and case.serving.failure:
        trouble, rule = case.serving.failure, BY_ENGINE
    if not trouble:
        trouble = case.evidence.harmful or case.evidence.sick
        rule = BY_EVIDENCE_OF_HARM if trouble else rule
    if rollout.baseline is None and (not trouble or rule == BY_EVIDENCE_OF_HARM):
        trouble, rule = trouble or _too_slow(case), BY_LIMITS
    if trouble and rollout.baseline is None:
        reason = f"{trouble}; there is no release to go back to"
        return case.make(DecisionName.HALT, reason, rule)
    if trouble:
        return case.make(DecisionName.ROLL_BACK, trouble, rule)
    bakes_s = case.step.hold_s + rollout.plan.bake_s
    baked = rollout.held_from is not None and case.now - rollout.held_from >= bakes_s
    if baked and rollout.phase is Phase.BAKING:
        answers = case.evidence.seen.candidate.requests
        reason = f"no harm seen in {bakes_s:g} s with all the traffic ({answers} answers so far)"
        return case.make(DecisionName.SETTLE, reason, BY_TIME_AND_VOLUME)
    return case.make(DecisionName.HOLD, "baking")


def _too_slow(case: Case) -> str:
    """Why a first release, with nothing to compare it to, is too slow; empty when it is not.

    Bets on one share pay by totals alone, so the wealth of all blocks is that of their sum.
    """
    plan, seen = case.rollout.plan, case.evidence.seen.candidate
    bets = sick_bets(plan.slow_share)
    payoffs = bets.log_payoffs(seen.slow, seen.requests)
    wealth = EProcess.of(bets).after(payoffs, requests_per_session=plan.requests_per_session)
    if not wealth.reaches(plan.alpha_of("slow")):
        return ""
    return f"more than {plan.slow_share:.0%} of its answers take over {plan.slow_ms} ms"


def _on_the_way_back(case: Case) -> Decision:
    """Rolling back, rejecting or pausing: only what cannot be done is left to decide."""
    if case.rollout.phase is Phase.HALTED:
        return case.make(DecisionName.HOLD, case.rollout.reason)
    going = case.rollout.phase in (Phase.ROLLING_BACK, Phase.RETURNING)
    target = case.rollout.target if going else None
    trouble = case.serving.failure or case.trouble_of(target)
    if trouble:
        reason = f"cannot go back to release {case.rollout.target}: {trouble}"
        return case.make(DecisionName.HALT, reason, BY_ENGINE)
    return case.make(DecisionName.HOLD, "going back")
