"""What one observation changes in the state: beliefs about revisions, and the block of traffic."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from canary.blocks import Block, gained
from canary.memory import MemoryWatch
from canary.ports import RevisionState
from canary.split import SETTLES_S
from canary.states import Belief, Phase

if TYPE_CHECKING:
    from canary.blocks import Observation
    from canary.ports import ArmCounters, RevisionStatus
    from canary.states import ModelServing, Rollout


def observe(serving: ModelServing, observation: Observation, *, partial: bool) -> ModelServing:
    """The state after an observation; equal to `serving` when it says nothing new.

    `partial`: count the open block even when it is not complete, which is only fair when its end
    was decided by the clock or by request counts.
    """
    for release, status in sorted(observation.revisions.items()):
        serving = _believe(serving, release, status, observation.at)
        serving = _remember(serving, release, status, observation.at)
    if serving.rollout is None or observation.counters is None:
        return serving
    return replace(serving, rollout=_absorb(serving.rollout, observation, partial=partial))


def open_block(rollout: Rollout, observation: Observation) -> Block | None:
    """What both arms answered since the mark; None when there is no mark, or counters restarted."""
    if rollout.mark is None or observation.counters is None:
        return None
    candidate = _gained_by(rollout.candidate, rollout.mark, observation)
    before = rollout.mark.counters_of(rollout.candidate)
    if rollout.baseline is None or candidate is None:
        return None if candidate is None else Block(candidate, candidate_before=before)
    baseline = _gained_by(rollout.baseline, rollout.mark, observation)
    if baseline is None:
        return None
    return Block(candidate, baseline, before, rollout.mark.counters_of(rollout.baseline))


def _gained_by(release: int, mark: Observation, observation: Observation) -> ArmCounters | None:
    return gained(mark.counters_of(release), observation.counters_of(release))


def _absorb(rollout: Rollout, observation: Observation, *, partial: bool) -> Rollout:
    if rollout.phase not in (Phase.SHIFTING, Phase.BAKING) or rollout.held_from is None:
        return rollout
    block = open_block(rollout, observation)
    if block is None:
        return replace(rollout, mark=observation)
    complete = block.complete(
        compared=rollout.phase is Phase.SHIFTING,
        seen=rollout.evidence.seen.candidate.requests,
        seconds=observation.at - (rollout.mark.at if rollout.mark else observation.at),
        held=rollout.mark.at - rollout.held_from if rollout.mark else 0.0,
    )
    if not complete and not partial:
        return rollout
    since = rollout.mark.at - rollout.held_from if rollout.mark else 0.0
    evidence = rollout.evidence.after(
        block,
        configured=_configured(rollout),
        settled=since >= SETTLES_S,
    )
    doubted = rollout.first_evidence_at
    if doubted is None and evidence.in_doubt:
        doubted = observation.at
    return replace(
        rollout,
        evidence=evidence,
        mark=observation,
        step_requests=rollout.step_requests + block.candidate.requests,
        last_block_at=observation.at if complete else rollout.last_block_at,
        first_evidence_at=doubted,
    )


def _configured(rollout: Rollout) -> float:
    """The candidate's share by the route, 0 where nothing is split."""
    if rollout.phase is Phase.SHIFTING:
        return rollout.weight / 100
    return 1 - rollout.plan.holdback / 100 if rollout.plan.holdback else 0.0


def _believe(
    serving: ModelServing, release: int, status: RevisionStatus, at: float
) -> ModelServing:
    known = serving.belief(release)
    if status.state is RevisionState.ABSENT:
        return serving.without_belief(release) if known else serving
    if known is None:
        known = Belief(release, status.state, started_at=at)
    if status.state is RevisionState.READY:
        return serving.with_belief(_ready(known, status))
    started_again = known.state is RevisionState.READY
    return serving.with_belief(
        replace(
            known,
            state=status.state,
            admitted=False,
            started_at=at if started_again else known.started_at,
            trouble=status.detail if status.state is RevisionState.FAILED else known.trouble,
        )
    )


def _remember(
    serving: ModelServing, release: int, status: RevisionStatus, at: float
) -> ModelServing:
    """What is kept of the revision's memory; only a candidate's is followed beyond its start."""
    known, rollout = serving.belief(release), serving.rollout
    if known is None:
        return serving
    watch = known.memory
    if status.state is not RevisionState.READY:
        watch = None  # Another process begins anew.
    elif watch is None:
        watch = MemoryWatch(status.memory_bytes) if status.memory_bytes else None
    elif rollout is not None and release == rollout.candidate:
        watch = watch.after(status.memory_bytes, at, rollout.plan)
    return serving if watch == known.memory else serving.with_belief(replace(known, memory=watch))


def _ready(known: Belief, status: RevisionStatus) -> Belief:
    recovered = known.state is RevisionState.FAILED
    return replace(
        known,
        state=RevisionState.READY,
        trouble="" if recovered else known.trouble,
        restarts=status.restarts if known.restarts is None else known.restarts,
    )
