"""The table: each rule on each cell of traffic, and how our goals stand in it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from benchmarks.canary_field.argo import Argo
from benchmarks.canary_field.flagger import Flagger
from benchmarks.canary_field.kayenta import Kayenta
from benchmarks.canary_field.naive import Naive
from benchmarks.canary_field.serving import MinuteRule, Outcome, serve
from benchmarks.canary_field.sluice import Sluice
from benchmarks.canary_field.traces import FAULTS, Cell, Trace, draw
from benchmarks.canary_power import Design, median_requests
from canary.plan import RolloutPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TRAFFIC_RPS = (1.0, 20.0, 500.0)
BASE_ERRORS = (0.001, 0.01, 0.05)
SESSION_MEAN = 5.0
LONGEST_SESSION = 25
"""Requests that a plan states for sessions of mean 5: longer ones are 0.4 % of all."""

FITTED = 3.0
"""A fitted limit allows so many times the cell's own error rate, which it has to know."""


class Rule(Protocol):
    """What makes an outcome of a trace."""

    def roll_out(self, trace: Trace) -> Outcome:
        """The outcome of all runs."""
        ...


@dataclass(frozen=True)
class ByMinute:
    """A rule that looks once a minute, as a `Rule`."""

    rule: MinuteRule

    def roll_out(self, trace: Trace) -> Outcome:
        """The outcome of all runs."""
        return serve(trace, self.rule)


def rules_for(cell: Cell) -> dict[str, Rule]:
    """Every rule by its name. The fitted ones know the cell's error rate."""
    allowed = FITTED * cell.base_error
    rules: dict[str, Rule] = {
        "flagger": ByMinute(Flagger()),
        "flagger_fitted": ByMinute(Flagger(least_success=100 * (1 - allowed))),
        "argo": ByMinute(Argo()),
        "argo_fitted": ByMinute(Argo(success_from=1 - allowed)),
        "kayenta": Kayenta(),
        "naive": ByMinute(Naive()),
        "sluice": Sluice(),
        "sluice_slow_steps": Sluice(slow_steps()),
    }
    if cell.session_mean > 1:
        tempered = RolloutPlan(requests_per_session=LONGEST_SESSION)
        rules["sluice_sessions_stated"] = Sluice(tempered)
        rules["sluice_by_sessions"] = Sluice(by_sessions=True)
    return rules


def slow_steps() -> RolloutPlan:
    """The default plan with Argo's ten minutes at each weight in place of one."""
    steps = [
        step.model_copy(update={"hold_s": 600.0}) if step.hold_s else step
        for step in RolloutPlan().steps
    ]
    return RolloutPlan(steps=tuple(steps))


def bases() -> list[Cell]:
    """The cells without a fault; a trace is drawn once for each, whatever the fault."""
    cells = [Cell(rps, error) for rps in TRAFFIC_RPS for error in BASE_ERRORS]
    return [*cells, Cell(20.0, 0.01, session_mean=SESSION_MEAN)]


def rows(
    *, runs: int, seed: int, traffic_rps: Sequence[float] = TRAFFIC_RPS
) -> Iterator[dict[str, Any]]:
    """One row a rule and cell. `false_rollback` is always that of the cell without a fault."""
    for number, base in enumerate(bases()):
        if base.traffic_rps not in traffic_rps:
            continue
        cells = [replace(base, fault=fault) for fault in FAULTS]
        traces = draw(cells, runs=runs, seed=seed * 1000 + number)
        false: dict[str, float] = {}
        for cell, trace in zip(cells, traces, strict=True):
            for name, rule in rules_for(cell).items():
                outcome = rule.roll_out(trace)
                false.setdefault(name, float(outcome.turned_back.mean()))
                yield _row(name, cell, outcome, false[name])


def _row(name: str, cell: Cell, outcome: Outcome, false: float) -> dict[str, Any]:
    row: dict[str, Any] = {"rule": name, **asdict(cell), "false_rollback": round(false, 4)}
    names = ("missed", "harmed_p50", "canary_requests_p50", "seconds_p50")
    if cell.fault == "none":
        return {**row, **dict.fromkeys(names)}
    back = outcome.turned_back
    values = (
        round(1 - float(back.mean()), 4),
        float(np.median(outcome.harmed)),
        _median(np.where(back, outcome.requests, np.inf)),
        _median(outcome.seconds),
    )
    return {**row, **dict(zip(names, values, strict=True))}


def _median(values: Any) -> float | None:
    """None where most runs are never turned back."""
    middle = float(np.quantile(values, 0.5, method="higher"))
    return middle if math.isfinite(middle) else None


def goals(table: list[dict[str, Any]], *, runs: int, seed: int) -> dict[str, Any]:
    """How our three goals stand: false rollbacks, requests at a 10 % split, harm to clients."""
    alpha = RolloutPlan().alpha
    ours = [row for row in table if row["rule"] == "sluice" and row["session_mean"] == 1]
    return {
        "alpha": alpha,
        "worst_false_rollback": max(row["false_rollback"] for row in ours),
        "canary_requests_at_10_percent": {
            "errors_tested_alone": at_10_percent(alpha, runs=runs, seed=seed),
            "least_for_a_known_ratio": least_requests(0.01, 5.0, 0.1, alpha),
            "default_alpha_split": at_10_percent(
                RolloutPlan().alpha_of("errors"), runs=runs, seed=seed
            ),
        },
        "least_harm_of_step": least_harm_of_step(),
        "harm": [_harm(row, table, alpha) for row in ours if row["fault"] != "none"],
    }


def at_10_percent(alpha: float, *, runs: int, seed: int) -> float:
    """Median canary requests until 1 % to 5 % of errors is found at a 10 % split, steady rates."""
    design = Design(alpha=alpha, candidate_rate=0.05, requests_per_look=10, looks=4000)
    return median_requests(design, runs=runs, seed=seed)


def least_requests(rate: float, ratio: float, share: float, alpha: float) -> float:
    """Mean candidate requests that a test which knew the ratio of the rates would need.

    Wald's bound: log(1 / alpha) over what one candidate request tells, the logarithm of the
    payoff of the right bet (`canary.evidence`) in the mean.
    """
    candidate = ratio * rate * math.log(ratio)
    both = (ratio * rate + rate * (1 - share) / share) * math.log1p(share * (ratio - 1))
    return round(-math.log(alpha) / (candidate - both), 1)


def least_harm_of_step() -> float:
    """Mean clients harmed by a step to five times 1 % under the default plan's first weight.

    For a test that knew the ratio; it is the same for rarer and for more common errors.
    """
    plan = RolloutPlan()
    share = plan.steps[0].weight / 100
    return round(0.04 * least_requests(0.01, 5.0, share, plan.alpha_of("errors")), 1)


def _harm(row: dict[str, Any], table: list[dict[str, Any]], most_false: float) -> dict[str, Any]:
    """Our harm beside that of the best other rule of the cell.

    That is one that is hardly ever false and finds the fault in most rollouts: what is missed goes
    on doing harm when the trace has ended.
    """
    keys = ("traffic_rps", "base_error", "fault", "session_mean")
    others = [
        other
        for other in table
        if all(other[key] == row[key] for key in keys)
        and not other["rule"].startswith("sluice")
        and other["false_rollback"] < most_false
        and other["missed"] <= 0.5
    ]
    best = min(others, key=lambda other: float(other["harmed_p50"]), default=None)
    return {
        **{key: row[key] for key in ("traffic_rps", "base_error", "fault")},
        "harmed_p50": row["harmed_p50"],
        "missed": row["missed"],
        "best_other": best and best["rule"],
        "best_other_harmed_p50": best and best["harmed_p50"],
    }
