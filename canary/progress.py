"""Whether a step may end: by volume or by evidence, below the cap, and with a person's word.

Where it may not, what is still missing is said, and waiting for what does not come is ended by a
pause.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from canary.blocks import MIN_BLOCK_REQUESTS
from canary.case import BY_EVIDENCE_OF_NO_HARM, BY_TIME_AND_VOLUME, BY_TOO_LITTLE
from canary.decisions import BY_A_PERSON, Decision, DecisionName
from canary.plan import COMPARED

if TYPE_CHECKING:
    from canary.case import Case

BY_PLAN = "the plan's end"


def by_progress(case: Case) -> Decision | None:
    """Go on, or wait for somebody's word; None while the step needs more, or is in doubt."""
    rollout = case.rollout
    if rollout.plan.returns:
        return _by_the_end(case)
    if rollout.held_from is None or case.now - rollout.held_from < case.step.hold_s:
        return None
    if case.in_doubt or case.capped:
        return None
    came, plan = case.came(), rollout.plan
    by_volume = case.step.until == "volume" and came >= case.needed
    by_evidence = case.harmless and came >= MIN_BLOCK_REQUESTS
    if not by_volume and not by_evidence:
        return None
    if by_volume and rollout.follows <= plan.cap:
        what = "pairs" if case.step.shadow else "answers"
        reason = f"no evidence of harm after {case.step.hold_s:g} s and {came} {what}"
        rule = BY_TIME_AND_VOLUME
    else:
        reason, rule = f"{_ruled_out(case)} is ruled out", BY_EVIDENCE_OF_NO_HARM
    if case.step.manual and not rollout.approved_by:
        who = " or ".join(case.step.who) or "somebody"
        return case.make(DecisionName.HOLD, f"{who} must let it go on; {reason}", BY_A_PERSON)
    if rollout.approved_by:
        reason = f"{rollout.approved_by} let it go on; {reason}"
    last = rollout.step + 1 == len(plan.steps) - 1
    return case.make(DecisionName.PROMOTE if last else DecisionName.ADVANCE, reason, rule)


def _by_the_end(case: Case) -> Decision | None:
    """End an experiment when its time is over, however it went and whoever drove it."""
    lasts_s, began = case.step.hold_s, case.rollout.started_at
    if case.now - began < lasts_s:
        return None
    reason = f"the experiment's {lasts_s:g} s are over"
    return case.make(DecisionName.END, reason, BY_PLAN)


def _ruled_out(case: Case) -> str:
    """The harm that the step's own evidence, or else the other's, rules out."""
    plan = case.rollout.plan
    by_pairs = case.harmless if case.step.shadow else not case.evidence.harmless
    if by_pairs:
        return f"a share of bad outputs larger by {plan.pair_margin:g}"
    return f"harm beyond {plan.margin:g} times the baseline's rates"


def by_silence(case: Case) -> Decision:
    """Hold, or pause when nothing can be learned by waiting."""
    rollout, plan = case.rollout, case.rollout.plan
    seen = case.observation.pairs if case.step.shadow else case.observation.counters
    if rollout.held_from is None or seen is None:
        return case.make(DecisionName.HOLD, "getting both sides ready")
    if plan.returns:
        # Nights without traffic are part of it, and nothing is to be decided.
        left = case.step.hold_s - (case.now - rollout.started_at)
        what = f"copying {case.step.shadow} %" if plan.only_copies else f"{rollout.weight} %"
        return case.make(DecisionName.HOLD, f"experiment at {what}: {left:.0f} s left")
    if case.now - rollout.last_block_at >= plan.no_traffic_s:
        reason = f"too little traffic for {plan.no_traffic_s:g} s; {_missing(case)}"
        return case.make(DecisionName.PAUSE, reason, BY_TOO_LITTLE)
    held = case.now - rollout.held_from
    if case.came() >= case.needed and held >= case.step.hold_s + plan.patience_s:
        reason = f"undecided for {plan.patience_s:g} s; {_missing(case)}"
        return case.make(DecisionName.PAUSE, reason, BY_TOO_LITTLE)
    at = f"copying {case.step.shadow} %" if case.step.shadow else f"step at {rollout.weight} %"
    return case.make(DecisionName.HOLD, f"{at}: {_missing(case)}")


def _missing(case: Case) -> str:
    """How much more the step needs."""
    rollout, step = case.rollout, case.step
    missing = max(0, case.needed - case.came()) if step.until == "volume" else 0
    held = case.now - (rollout.held_from if rollout.held_from is not None else case.now)
    seconds = max(0.0, step.hold_s - held)
    if missing:
        percent = step.shadow or step.weight
        total = math.ceil(missing * 100 / percent)
        what = (
            f"requests answered by both (about {total} at {percent} % copied)"
            if step.shadow
            else f"answers of release {rollout.candidate} (about {total} requests at {percent} %)"
        )
        return f"needs {missing} more {what} and {seconds:.0f} s"
    if seconds:
        return f"needs {seconds:.0f} s more"
    return _missing_evidence(case)


def _missing_evidence(case: Case) -> str:
    if case.in_doubt:
        return "waiting until a doubt is settled"
    e_value, needed = _strength(case)
    cap = f"to go beyond {case.rollout.plan.cap} % " if case.capped else ""
    must = f"{cap}harm beyond the margin must be ruled out"
    return f"{must}: the evidence is {e_value:.3g} of {needed:g}"


def _strength(case: Case) -> tuple[float, float]:
    """The weakest e-value that speaks against harm in this step, and what it must reach."""
    plan = case.rollout.plan
    if case.step.shadow:
        processes = [case.pairs.no_harm]
    else:
        compared = {"errors": case.evidence.errors, "slow": case.evidence.slow}
        processes = [compared[name].no_harm for name in COMPARED if plan.alpha_of(name)]
    return math.exp(min(one.log_e for one in processes)), 1 / plan.alpha
