"""Where a rollout may stand, and how it may end."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Where a rollout stands. The order is the one of a rollout that goes well."""

    LOADING = "loading"
    LOADED = "loaded"
    SHIFTING = "shifting"
    PROMOTED = "promoted"
    BAKING = "baking"
    SETTLED = "settled"
    PAUSED = "paused"
    ROLLING_BACK = "rolling-back"
    REJECTED = "rejected"
    HALTED = "halted"
    RETURNING = "returning"
    """An experiment is over: the traffic goes back, and nothing is held against the candidate."""


BEFORE_TRAFFIC = (Phase.LOADING, Phase.LOADED)
PAUSABLE = (*BEFORE_TRAFFIC, Phase.SHIFTING, Phase.PROMOTED, Phase.BAKING)
AT_FULL_TRAFFIC = (Phase.PROMOTED, Phase.BAKING, Phase.SETTLED)


class Outcome(StrEnum):
    """How a rollout ended, or why its controller stopped for now."""

    SETTLED = "settled"
    ROLLED_BACK = "rolled-back"
    REJECTED = "rejected"
    COMPARED = "compared"
    """An experiment ended as it was planned, or a person ended it."""
    PAUSED = "paused"
    """Not ended: inconclusive, or a person asked. The candidate gets no traffic meanwhile."""
    HALTED = "halted"
    """Not ended: a person must look, because no move is known to be safe."""
    UNDER_WAY = "under-way"
    """Not ended: another controller drives it, and will do what was asked for at its next look."""
    IDLE = "idle"
    """No rollout is under way, and the live release serves (or there is none)."""
