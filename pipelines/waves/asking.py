"""What is refused before any region is touched, and where a way back without waves would lead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canary.plan import RolloutPlan
from canary.waves_states import Standing
from registry.errors import ConflictError, PermanentEngineError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canary.waves_states import ModelWaves, Seen


def check_start(
    state: ModelWaves, candidate: int, seen: Mapping[str, Seen], *, replace: bool = False
) -> None:
    """Raise unless waves of `candidate` may start in the regions of `seen`, in that order."""
    waves = state.waves
    if waves is not None and (not replace or waves.candidate == candidate):
        raise ConflictError(
            f"release {waves.candidate} is on its way through {', '.join(state.order)}",
            where=state.model,
            remedy="`sluice resume` or `sluice rollback` it, or replace it",
        )
    require_first(seen)
    if waves is None and all(
        one.live == candidate and one.rolling is None for one in seen.values()
    ):
        raise UserError(f"release {candidate} is live in every region", where=state.model)


def require_first(seen: Mapping[str, Seen]) -> None:
    """Raise PermanentEngineError when the first region of `seen` cannot be reached."""
    first, sight = next(iter(seen.items()))
    if sight.cut_off:
        raise PermanentEngineError(
            f"the first region cannot be reached: {sight.cut_off}",
            where=first,
            remedy="run `sluice up`; nothing was changed",
        )


def targets_of(state: ModelWaves, seen: Mapping[str, Seen]) -> dict[str, Any]:
    """The body of a way back while no waves are under way: by region, what it served before.

    Only regions that serve what the first of them serves are sent back. Raises UserError when none
    has an earlier release.
    """
    leaves = next(
        (seen[name].live for name in state.order if name in seen and seen[name].previous), None
    )
    known = {} if not state.history else {one.name: one for one in state.history[-1].regions}
    targets: dict[str, int] = {}
    for name in state.order:
        sight, then = seen.get(name), known[name]
        if sight is None:
            continue
        if sight.cut_off and then.standing is Standing.SETTLED and then.baseline is not None:
            targets[name] = then.baseline
        elif sight.live == leaves and sight.previous is not None:
            targets[name] = sight.previous
    if leaves is None or not targets:
        raise UserError(
            "no region has an earlier release to go back to",
            where=state.model,
            remedy="name region and release: `sluice rollback NAME --region REGION --to RELEASE`",
        )
    return {
        "waves": state.next_number,
        "candidate": leaves,
        "regions": targets,
        "plan": RolloutPlan().model_dump(mode="json"),
    }
