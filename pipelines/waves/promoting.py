"""What the promotion flow does for a model whose plan names waves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from infra.local.stack import require_up
from pipelines.model_config import load_model_config
from pipelines.waiting import wait_for
from pipelines.waves.platforms import coordinator
from registry.regions import check_regions

if TYPE_CHECKING:
    from collections.abc import Callable

    from canary.plan import RolloutPlan
    from pipelines.assembly import Platform


def checked_plan(platform: Platform, model: str) -> RolloutPlan:
    """The model's plan. Raises UserError when it names a region that the workspace has not."""
    plan = load_model_config(platform.workspace, model).rollout
    check_regions(
        platform.workspace, plan.waves, where=f"{platform.workspace.model_file(model)}: waves"
    )
    return plan


def require_doors(platform: Platform, model: str) -> RolloutPlan:
    """The plan, once a front door answers that traffic can move behind.

    That is the workspace's own, or the first region's. Raises EngineError when it does not.
    """
    plan = checked_plan(platform, model)
    if plan.waves:
        coordinator(platform).require_reached(model, plan.waves[0])
    else:
        require_up(platform.workspace)
    return plan


def roll_out_in_waves(
    platform: Platform,
    model: str,
    release: int,
    plan: RolloutPlan,
    *,
    replace: bool = False,
    reason: str = "",
) -> dict[str, Any]:
    """Drive the release through the regions to the end, a stop or a pause."""
    one = coordinator(platform)
    return one.promote(model, release, plan, replace=replace, reason=reason).to_dict()


def wait_for_waves(
    platform: Platform,
    model: str,
    timeout_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when no waves of the model are under way.

    Raises ConflictError when they still are after `timeout_s`.
    """
    one = coordinator(platform)

    def stands() -> str:
        waves = one.state(model).waves
        if waves is None:
            return ""
        at = waves.current.name if waves.current else "its end"
        return f"release {waves.candidate} is at {at}, {waves.course}"

    remedy = f"`sluice rollback {model}` ends it, `--replace` does so and goes on"
    wait_for(stands, timeout_s, model=model, remedy=remedy, clock=clock, sleep=sleep)
