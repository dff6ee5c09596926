"""A/B experiments: traffic split by session for a while, compared, given back; never promoted.

An experiment is a rollout whose plan ends with the baseline, so the controller that moves all
traffic drives it, and harm turns its candidate back as any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canary.experiment import COMPARABLE, latest_experiment
from canary.phases import BEFORE_TRAFFIC
from canary.plan import RolloutPlan
from infra.local.stack import require_up
from pipelines.model_config import load_model_config
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from canary.experiment import Experiment
    from pipelines.assembly import Platform

MAX_WEIGHT = 99


def experiment_plan(
    plan: RolloutPlan, *, weight: int, lasts_s: float, metrics: Sequence[str] = ()
) -> RolloutPlan:
    """An experiment's plan: `weight` percent for `lasts_s`, and all else as in the model's own.

    Raises UserError for a weight, a duration or a metric that no experiment can have.
    """
    if not 1 <= weight <= MAX_WEIGHT:
        raise UserError(f"a weight of {weight} compares nothing; take 1 to {MAX_WEIGHT}")
    if lasts_s <= 0:
        raise UserError("an experiment needs a duration")
    unknown = [metric for metric in metrics if metric not in COMPARABLE]
    if unknown:
        raise UserError(f"{unknown[0]!r} cannot be compared; there are {', '.join(COMPARABLE)}")
    own = {
        "steps": [{"weight": weight, "hold_s": lasts_s}],
        "ends_with": "return",
        "compares": list(dict.fromkeys(metrics)),
        "cap": 100,
        "holdback": 0,
    }
    return RolloutPlan.model_validate(plan.model_dump(mode="json") | own)


def start_experiment(
    platform: Platform,
    model: str,
    release: int,
    *,
    weight: int,
    lasts_s: float,
    metrics: Sequence[str] = (),
) -> dict[str, Any]:
    """Split the traffic between the live release and `release`, and return when that is over.

    Raises UserError when nothing is live, for a release that is live or was never published;
    ConflictError while a rollout or another experiment is under way.
    """
    own = load_model_config(platform.workspace, model).rollout
    plan = experiment_plan(own, weight=weight, lasts_s=lasts_s, metrics=metrics)
    platform.catalog(model).require_release(model, release)
    if platform.serving(model).live is None:
        raise UserError(
            "no release is live, so there is nothing to compare with",
            where=model,
            remedy=f"`sluice promote {model}` makes one live",
        )
    require_up(platform.workspace)
    return platform.controller().promote(model, release, plan).to_dict()


def stop_experiment(platform: Platform, model: str, reason: str) -> dict[str, Any]:
    """Give all traffic back to the live release now, whoever drives the experiment.

    Raises UserError when no experiment is under way: a rollout is left alone.
    """
    rollout = platform.serving(model).rollout
    if rollout is None or not rollout.plan.returns:
        raise UserError(
            "no experiment is under way",
            where=model,
            remedy=f"`sluice abort {model}` ends a rollout" if rollout else "",
        )
    controller, phase = platform.controller(), rollout.phase
    standing = phase.value in {"paused", "halted"}
    if (rollout.resumes_in if standing else phase) in BEFORE_TRAFFIC:
        return controller.abort(model, reason).to_dict()
    orphaned = platform.lease_is_orphaned(model)
    return controller.skip(model, reason, take_over=orphaned).to_dict()


def find_experiment(platform: Platform, model: str) -> Experiment:
    """The experiment under way, or the last one, from the journal alone.

    Raises UserError when there was none, IntegrityError for a broken journal.
    """
    platform.workspace.require_model(model)
    platform.journal.verify(model)
    return latest_experiment(platform.journal.read(model), model=model)
