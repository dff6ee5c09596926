"""What one observation adds to the state: beliefs, blocks of traffic, and blocks of pairs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from canary.observing import observe
from canary.states import Phase

if TYPE_CHECKING:
    from canary.blocks import Observation
    from canary.states import ModelServing, Rollout


def absorb(serving: ModelServing, observation: Observation, *, partial: bool) -> ModelServing:
    """The state after an observation; equal to `serving` when it says nothing new.

    `partial`: count open blocks even when they are not complete, which is only fair when their end
    was decided by the clock or by request counts.
    """
    serving = observe(serving, observation, partial=partial)
    if serving.rollout is None or observation.pairs is None:
        return serving
    return replace(serving, rollout=_absorb_pairs(serving.rollout, observation, partial=partial))


def _absorb_pairs(rollout: Rollout, observation: Observation, *, partial: bool) -> Rollout:
    counts = observation.pairs
    shadowing = rollout.phase is Phase.SHIFTING and rollout.mirror is not None
    if counts is None or not counts.pairs or not shadowing or rollout.held_from is None:
        return rollout
    began = max(rollout.pairs.at, rollout.held_from)
    seen = rollout.pairs.seen.sessions
    complete = counts.complete(seen=seen, seconds=observation.at - began)
    if not complete and not partial:
        return rollout
    pairs = rollout.pairs.after(counts, observation.at)
    doubted = rollout.first_evidence_at
    if doubted is None and pairs.in_doubt:
        doubted = observation.at
    return replace(
        rollout,
        pairs=pairs,
        step_pairs=rollout.step_pairs + counts.pairs,
        last_block_at=observation.at if complete else rollout.last_block_at,
        first_evidence_at=doubted,
    )
