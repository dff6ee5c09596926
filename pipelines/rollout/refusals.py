"""What is refused before anything changes: promotions and rollbacks that cannot be meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.errors import ConflictError, UserError

if TYPE_CHECKING:
    from canary.rollout import ModelServing


def check_promotion(serving: ModelServing, candidate: int, *, replace: bool) -> None:
    """Raise unless `candidate` may be rolled out now; `replace`: in place of another one.

    ConflictError while a rollout is under way that is not to be replaced, UserError when the
    candidate serves already.
    """
    rollout = serving.rollout
    if rollout is not None and (not replace or rollout.candidate == candidate):
        raise ConflictError(
            f"release {rollout.candidate} is being rolled out ({rollout.phase})",
            where=serving.model,
            remedy="wait for it, `sluice resume` or `sluice rollback` it, or replace it",
        )
    if rollout is not None and rollout.baseline is None and not rollout.before_traffic:
        # It is left as it is, so it must have become live.
        if serving.live != rollout.candidate:
            raise ConflictError("the first release does not serve yet", where=serving.model)
    elif candidate == (serving.live if rollout is None else rollout.baseline):
        raise UserError(f"release {candidate} is live already", where=serving.model)


def rollback_target(serving: ModelServing, to: int | None) -> int | None:
    """Where a rollback leads; None when a first release only has to be given up.

    Raises UserError when there is no release to go back to.
    """
    rollout = serving.rollout
    if rollout is None:
        leaves, target = serving.live, serving.previous if to is None else to
    else:
        leaves, target = rollout.candidate, rollout.baseline if to is None else to
    if target is None and rollout is not None and rollout.before_traffic:
        return None
    if leaves is None or target is None:
        raise UserError(
            "there is no earlier healthy release to go back to",
            where=serving.model,
            remedy="name one that was published: `sluice rollback NAME --to RELEASE`",
        )
    if target == leaves:
        raise UserError(f"release {target} is the one to be left", where=serving.model)
    return target
