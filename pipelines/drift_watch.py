"""Flow: one round of the drift watch. It looks, and tells an open case apart; run it by a schedule.

What keeps a round from its end is said in its result, and the next round begins with it: a case
stays in the journal until it is told apart or a person ends it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow

from drift.case import Severity
from infra.local.stack import require_up
from pipelines.drift_attribution import attribute
from pipelines.drift_cases import look
from pipelines.drift_report import keep_report, tell
from pipelines.drift_standing import count_standing
from pipelines.notifications import checked_webhook, notifying
from pipelines.stages import Stages
from pipelines.waves.platforms import platform_at
from registry.errors import EngineError, SluiceError
from registry.workspace import Workspace

if TYPE_CHECKING:
    from drift.case import Case
    from pipelines.assembly import Platform

_LEFT_TO_PEOPLE = frozenset({"data", "model"})
"""Findings after which a case only waits for somebody."""


@flow(name="drift-watch", flow_run_name="drift-watch-{model}")
def drift_watch(
    workspace: str,
    model: str,
    window_s: float = 0.0,
    actor: str = "",
    *,
    region: str = "",
    advise: bool = False,
) -> dict[str, Any]:
    """Judge the last window (`window_s` of the policy by default) and attribute an open case.

    With `region`, that region's traffic by its own journal: a release is rolled back there alone.
    The page is completed, and kept in MLflow. Returns what was seen, `copies` (what standing copies
    say, empty without), `finding` (empty while there was no case to attribute), `trouble` (why a
    case could not be attributed, else empty) and seconds by stage. With `advise` nothing is rolled
    back. Raises UserError for wrong settings.
    """
    stages = Stages()
    platform = platform_at(Workspace(Path(workspace)), region, actor=actor)
    checked_webhook(platform)
    result: dict[str, Any] = {"finding": "", "attribution": None, "trouble": "", "copies": ""}
    with notifying(platform, model):
        with stages.stage("count"):
            result["copies"] = _counted(platform, model)
        with stages.stage("look"):
            found = look(platform, model, now=time.time(), window_s=window_s or None)
        result, report = {**found.to_json(), **result}, found.report
        if is_to_be_attributed(found.state.case):
            with stages.stage("attribute"):
                result |= _attributed(platform, model, advise=advise)
            report = tell(platform, found.check, now=time.time())
        with stages.stage("report"):
            result["report"] = keep_report(platform, report, found.folder)
    return {**result, "stages": stages.seconds}


def _counted(platform: Platform, model: str) -> str:
    """What standing copies say so far, in words."""
    try:
        standing = count_standing(platform, model, time.time())
    except EngineError as error:
        return f"standing copies cannot be read: {error}"
    if standing is None:
        return ""
    return (
        f"{standing.bad_current} bad outputs against {standing.bad_previous} of release "
        f"{standing.previous}'s in {standing.pairs} standing copies"
    )


def is_to_be_attributed(case: Case | None) -> bool:
    """Whether more is to be found out of an open case, or a way back is to be gone to its end."""
    if case is None:
        return False
    unfinished = case.rolled_back_to is not None
    return unfinished or (case.severity is Severity.ACT and case.attribution not in _LEFT_TO_PEOPLE)


def _attributed(platform: Platform, model: str, *, advise: bool) -> dict[str, Any]:
    try:
        require_up(platform.workspace)
        found = attribute(platform, model, advise=advise)
    except SluiceError as error:
        return {"trouble": str(error)}
    return {"finding": found.finding, "attribution": found.to_json()}
