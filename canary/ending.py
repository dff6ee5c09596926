"""What the end of a rollout makes of a model's serving."""

from __future__ import annotations

from dataclasses import replace

from canary.phases import Outcome
from canary.states import EndedRollout, ModelServing


def ended(serving: ModelServing, outcome: Outcome, at: float) -> ModelServing:
    """Without the rollout under way, which ended so at `at` (UTC epoch seconds)."""
    rollout = serving.rollout
    if rollout is None:
        raise ValueError("no rollout is under way")
    latest = EndedRollout(
        number=rollout.number,
        candidate=rollout.candidate,
        baseline=rollout.baseline,
        target=rollout.target,
        outcome=outcome,
        reason=rollout.reason,
        started_at=rollout.started_at,
        first_evidence_at=rollout.first_evidence_at,
        decided_at=rollout.decided_at,
        ended_at=at,
    )
    serving = replace(serving, rollout=None, starts={}, history=(*serving.history, latest))
    if outcome is Outcome.SETTLED:
        return _settle(serving, rollout.candidate)
    if outcome is Outcome.ROLLED_BACK and rollout.target is not None:
        return _withdraw(serving, rollout.candidate, rollout.target)
    return serving


def _settle(serving: ModelServing, live: int) -> ModelServing:
    earlier = tuple(release for release in serving.served if release != live)
    return replace(
        serving, live=live, served=(*earlier, live), withdrawn=serving.withdrawn - {live}
    )


def _withdraw(serving: ModelServing, candidate: int, target: int) -> ModelServing:
    earlier = serving.served
    if target in earlier:
        earlier = earlier[: earlier.index(target)]
    return replace(
        serving,
        live=target,
        served=(*earlier, target),
        withdrawn=(serving.withdrawn | {candidate}) - {target},
    )
