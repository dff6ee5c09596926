"""How a rollout moves on: by its own steps, by looks and by decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from canary.absorbing import absorb
from canary.blocks import Observation
from canary.decisions import BY_A_PERSON, DECISIONS
from canary.effects import route_from_json
from canary.fold_current import current
from canary.observing import observe
from canary.ports import RevisionState
from canary.states import PAUSABLE, Phase
from registry.journal_fold import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canary.decisions import DecisionKind
    from canary.states import ModelServing, Rollout
    from registry.journal import Entry


def phase_entered(serving: ModelServing, entry: Entry) -> ModelServing:
    """The rollout moves on by itself; what the phase needs must be so."""
    rollout, phase = current(serving, entry), Phase(entry.body["phase"])
    wanted = phase is Phase.PAUSED and rollout.phase in PAUSABLE and bool(rollout.pause_wanted)
    legal = wanted or phase in _FOLLOWS.get(rollout.phase, ())
    require(legal, entry, f"enters {phase} from {rollout.phase}")
    if wanted:
        rollout = replace(rollout, resumes_in=rollout.phase, reason=rollout.pause_wanted)
        return replace(serving, rollout=rollout.entered(phase, entry.at))
    require(
        phase is not Phase.PROMOTED or not rollout.plan.returns, entry, "promotes an experiment"
    )
    if phase is Phase.LOADED:
        require(serving.admitted(rollout.candidate), entry, "is loaded without admission")
    if phase in (Phase.BAKING, Phase.SETTLED):
        held_back = 0 if rollout.baseline is None else rollout.plan.holdback
        whole = serving.weight_of(rollout.candidate) >= 100 - held_back
        require(whole, entry, f"enters {phase} without all the traffic")
        serving = replace(serving, live=rollout.candidate)
    step = len(rollout.plan.steps) - 1 if phase is Phase.PROMOTED else rollout.step
    rollout = replace(rollout.entered(phase, entry.at), step=step)
    if phase is Phase.BAKING:
        rollout = replace(rollout, held_from=entry.at, last_block_at=entry.at)
    return replace(serving, rollout=rollout)


_FOLLOWS = {
    Phase.LOADING: (Phase.LOADED,),
    Phase.LOADED: (Phase.SHIFTING, Phase.PROMOTED),
    Phase.PROMOTED: (Phase.BAKING, Phase.SETTLED),
    Phase.BAKING: (Phase.BAKING,),
}


def step_entered(serving: ModelServing, entry: Entry) -> ModelServing:
    """The step's weight and copies are routed, so its time begins."""
    rollout, body = current(serving, entry), entry.body
    legal = rollout.phase is Phase.SHIFTING and body["step"] == rollout.step
    require(legal, entry, f"enters step {body['step']} while {rollout.phase}")
    routed = body["weight"] == rollout.weight == serving.weight_of(rollout.candidate)
    require(routed, entry, "enters a step whose weight is not routed")
    require(serving.mirror == rollout.mirror, entry, "enters a step whose copies are not routed")
    return replace(serving, rollout=replace(rollout, held_from=entry.at, last_block_at=entry.at))


def looked(serving: ModelServing, entry: Entry) -> ModelServing:
    """A controller came back and saw what is so; older beliefs give way."""
    observation = Observation.from_json(entry.body["observation"])
    fresh = tuple(
        replace(
            belief,
            trouble="",
            started_at=entry.at,
            # What was refused or failed before is judged again from what is seen now.
            admitted=belief.admitted and belief.state is RevisionState.READY,
        )
        for belief in serving.beliefs
    )
    serving = replace(serving, beliefs=fresh, failure="", given_up=frozenset(), starts={})
    serving = observe(serving, replace(observation, counters=None), partial=False)
    # Whoever acted before may have been late with the alias, which knows no lease.
    serving = replace(serving, alias=None)
    if serving.rollout is not None:
        serving = replace(serving, rollout=replace(serving.rollout, held_from=None, mark=None))
    return _routed(serving, entry.body)


def _routed(serving: ModelServing, body: Mapping[str, Any]) -> ModelServing:
    """The route that a look found; old entries know no copies and no retries."""
    serving = replace(serving, route=None, mirror=None, retry_to=None, claimed=body["claimed"])
    if body["route"] is None:
        return serving
    seen = route_from_json({**body, "shares": body["route"]})
    return replace(serving, route=seen.shares, mirror=seen.mirror, retry_to=seen.retry_to)


def decided(serving: ModelServing, entry: Entry) -> ModelServing:
    """An observation was made and a decision with it."""
    body = entry.body
    kind = DECISIONS[body["decision"]]
    if serving.rollout is None and kind.phase is None:
        # A model that only serves is brought back: there is nothing to decide, only to see.
        return observe(serving, Observation.from_json(body["observation"]), partial=False)
    _check_decision(current(serving, entry), kind, entry)
    observation = Observation.from_json(body["observation"])
    serving = absorb(serving, observation, partial=kind.ends_block)
    rollout = current(serving, entry)
    if kind.phase is None:
        waits = rollout.waits or body.get("rule") == BY_A_PERSON
        return replace(serving, rollout=replace(rollout, waits=waits))
    if kind.phase is Phase.SETTLED:
        serving = replace(serving, live=rollout.candidate)
    if kind.moves_on:
        rollout = replace(rollout, step=kind.next_step(rollout), step_requests=0, step_pairs=0)
    rollout = replace(
        rollout,
        resumes_in=rollout.resumes_in if rollout.phase is Phase.PAUSED else rollout.phase,
        decided_at=entry.at,
        first_evidence_at=rollout.first_evidence_at
        or (observation.at if kind.turns_back else None),
        reason=body["reason"],
    )
    return replace(serving, rollout=rollout.entered(kind.phase, entry.at), failure="")


def _check_decision(rollout: Rollout, kind: DecisionKind, entry: Entry) -> None:
    name, phase = entry.body["decision"], rollout.phase
    require(phase in kind.legal_in, entry, f"decides to {name} while {phase}")
    if kind.phase is Phase.REJECTED:
        require(rollout.before_traffic, entry, "rejects a candidate that got traffic")
    ends = kind.phase is Phase.RETURNING
    if ends or (phase is Phase.SHIFTING and kind.moves_on):
        require(ends is rollout.plan.returns, entry, f"decides to {name} of such a plan")
    if phase is Phase.SHIFTING and kind.moves_on:
        let_on = bool(rollout.approved_by) or not rollout.current.manual
        require(let_on, entry, "goes on from a step that waits for a person")
