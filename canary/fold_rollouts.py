"""How rollouts begin and end, a person's way back included."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from canary.ending import ended
from canary.fold_current import current
from canary.metrics import Evidence
from canary.pair_evidence import PairEvidence
from canary.plan import RolloutPlan
from canary.standing import agrees, serving_at
from canary.states import ModelServing, Outcome, Phase, Rollout
from registry.journal_fold import require

if TYPE_CHECKING:
    from registry.journal import Entry


def rollout_started(serving: ModelServing, entry: Entry) -> ModelServing:
    """A candidate is to take over from the live release."""
    require(serving.rollout is None, entry, "starts a rollout while another is under way")
    body = entry.body
    require(body["baseline"] == serving.live, entry, "starts from a release that is not live")
    plan = RolloutPlan.model_validate(body["plan"])
    rollout = Rollout(
        number=body["rollout"],
        candidate=body["candidate"],
        baseline=body["baseline"],
        target=body["baseline"],
        plan=plan,
        evidence=Evidence.none(plan),
        pairs=PairEvidence.none(plan),
        started_at=entry.at,
        entered_at=entry.at,
    )
    return replace(
        serving,
        rollout=rollout,
        keep_previous=plan.keep_previous,
        standing_copies=plan.standing_copies,
        load_timeout_s=plan.load_timeout_s,
        starts={},
        failure="",
    )


def rollback_requested(serving: ModelServing, entry: Entry) -> ModelServing:
    """A person wants to go back, in the middle of a rollout or long after."""
    target, reason = entry.body["to"], entry.body["reason"]
    rollout = serving.rollout or _way_back(serving, entry)
    if rollout.phase is Phase.REJECTED:
        return serving
    require(target != rollout.candidate, entry, "rolls back to the release it leaves")
    untouched = rollout.baseline is None and rollout.before_traffic
    require(target is not None or untouched, entry, "names no release")
    phase = Phase.REJECTED if target is None else Phase.ROLLING_BACK
    if rollout.plan.returns and target == rollout.baseline:
        # The way back is how an experiment ends; asking for it early holds nothing against it.
        phase = Phase.RETURNING
    rollout = replace(rollout, target=target, decided_at=entry.at, reason=reason)
    # Whoever acted until now may still write a route: this one is not claimed before it is written.
    serving = replace(serving, claimed=False, failure="", starts={})
    return replace(serving, rollout=rollout.entered(phase, entry.at))


def _way_back(serving: ModelServing, entry: Entry) -> Rollout:
    """The rollout of a person who goes back long after: away from the live release."""
    require(serving.live is not None, entry, "rolls back though nothing is live")
    plan = RolloutPlan(keep_previous=serving.keep_previous, load_timeout_s=serving.load_timeout_s)
    return Rollout(
        number=serving.next_rollout,
        candidate=serving.live or 0,
        baseline=entry.body["to"],
        target=entry.body["to"],
        plan=plan,
        evidence=Evidence.none(plan),
        pairs=PairEvidence.none(plan),
        started_at=entry.at,
    )


def rollout_ended(serving: ModelServing, entry: Entry) -> ModelServing:
    """Everything the last phase wanted is so."""
    rollout = current(serving, entry)
    outcome = Outcome(entry.body["outcome"])
    require(_ENDS.get(rollout.phase) is outcome, entry, f"ends {outcome} while {rollout.phase}")
    after = ended(serving, outcome, at=entry.at)
    told = serving_at(entry)
    holds = told is None or agrees(told, after)
    require(holds, entry, "leaves the model elsewhere than it says")
    return after


_ENDS = {
    Phase.SETTLED: Outcome.SETTLED,
    Phase.ROLLING_BACK: Outcome.ROLLED_BACK,
    Phase.REJECTED: Outcome.REJECTED,
    Phase.RETURNING: Outcome.COMPARED,
}
