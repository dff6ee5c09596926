"""How a rollout moves on: by its own steps, by looks and decisions, by a person's wish."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from canary.blocks import Observation
from canary.decisions import DECISIONS
from canary.effects import shares_from_json
from canary.legality import current, entered, require
from canary.observing import observe
from canary.ports import RevisionState
from canary.states import PAUSABLE, Phase

if TYPE_CHECKING:
    from canary.states import ModelServing
    from registry.journal import Entry


def phase_entered(serving: ModelServing, entry: Entry) -> ModelServing:
    """The rollout moves on by itself; what the phase needs must be so."""
    rollout, phase = current(serving, entry), Phase(entry.body["phase"])
    wanted = phase is Phase.PAUSED and rollout.phase in PAUSABLE and bool(rollout.pause_wanted)
    legal = wanted or phase in _FOLLOWS.get(rollout.phase, ())
    require(legal, entry, f"enters {phase} from {rollout.phase}")
    if wanted:
        rollout = replace(rollout, resumes_in=rollout.phase, reason=rollout.pause_wanted)
        return replace(serving, rollout=entered(rollout, phase, entry.at))
    if phase is Phase.LOADED:
        require(serving.admitted(rollout.candidate), entry, "is loaded without admission")
    if phase in (Phase.BAKING, Phase.SETTLED):
        whole = serving.weight_of(rollout.candidate) == 100
        require(whole, entry, f"enters {phase} without all the traffic")
        serving = replace(serving, live=rollout.candidate)
    step = len(rollout.plan.steps) - 1 if phase is Phase.PROMOTED else rollout.step
    rollout = replace(entered(rollout, phase, entry.at), step=step)
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
    """The step's weight is routed, so its time begins."""
    rollout, body = current(serving, entry), entry.body
    legal = rollout.phase is Phase.SHIFTING and body["step"] == rollout.step
    require(legal, entry, f"enters step {body['step']} while {rollout.phase}")
    routed = body["weight"] == rollout.weight == serving.weight_of(rollout.candidate)
    require(routed, entry, "enters a step whose weight is not routed")
    return replace(serving, rollout=replace(rollout, held_from=entry.at, last_block_at=entry.at))


def pause_requested(serving: ModelServing, entry: Entry) -> ModelServing:
    """A person wants the rollout to stand still; its controller enters the pause when it sees this.

    The wish is written without the lease, between any two entries of the controller, so it must
    not change what those entries may be.
    """
    if serving.rollout is None:
        return serving
    reason = entry.body.get("reason") or "a person asked"
    return replace(serving, rollout=replace(serving.rollout, pause_wanted=reason))


def resume_requested(serving: ModelServing, entry: Entry) -> ModelServing:
    """A person wants a rollout that stands still to go on."""
    rollout = serving.rollout
    if rollout is None or rollout.phase not in (Phase.PAUSED, Phase.HALTED):
        return serving
    # A person looked at the baseline, so what was held against it begins again.
    evidence = rollout.evidence.forgiving_baseline()
    rollout = replace(rollout, reason="", evidence=evidence, pause_wanted="")
    return replace(
        serving, rollout=entered(rollout, rollout.resumes_in, entry.at), failure="", starts={}
    )


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
    if serving.alias_failed:
        serving = replace(serving, alias=None, alias_failed=False)
    if serving.rollout is not None:
        serving = replace(serving, rollout=replace(serving.rollout, held_from=None))
    shares = entry.body["route"]
    return replace(
        serving,
        route=None if shares is None else shares_from_json(shares),
        claimed=entry.body["claimed"],
    )


def decided(serving: ModelServing, entry: Entry) -> ModelServing:
    """An observation was made and a decision with it."""
    body = entry.body
    kind = DECISIONS[body["decision"]]
    if serving.rollout is None and kind.phase is None:
        # A model that only serves is brought back: there is nothing to decide, only to see.
        return observe(serving, Observation.from_json(body["observation"]), partial=False)
    rollout = current(serving, entry)
    legal = rollout.phase in kind.legal_in
    require(legal, entry, f"decides to {body['decision']} while {rollout.phase}")
    observation = Observation.from_json(body["observation"])
    serving = observe(serving, observation, partial=kind.ends_block)
    rollout = current(serving, entry)
    if kind.phase is None:
        return serving
    if kind.phase is Phase.SETTLED:
        serving = replace(serving, live=rollout.candidate)
    rollout = replace(
        rollout,
        step=kind.next_step(rollout),
        step_requests=0 if kind.moves_on else rollout.step_requests,
        resumes_in=rollout.resumes_in if rollout.phase is Phase.PAUSED else rollout.phase,
        decided_at=entry.at,
        first_evidence_at=rollout.first_evidence_at
        or (observation.at if kind.turns_back else None),
        reason=body["reason"],
    )
    return replace(serving, rollout=entered(rollout, kind.phase, entry.at), failure="")
