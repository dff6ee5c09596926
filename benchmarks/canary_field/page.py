"""The measured part of `docs/explanation/canary-rules.md`, so that no figure goes stale by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchmarks.canary_field.plots import NAMES
from benchmarks.canary_field.table import LONGEST_SESSION, SESSION_MEAN

if TYPE_CHECKING:
    from pathlib import Path

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

SESSION_NAMES = {
    **NAMES,
    "sluice_sessions_stated": f"Sluice, `requests_per_session` {LONGEST_SESSION}",
    "sluice_by_sessions": "Sluice, sessions as units",
}

FAULT_TITLES = {
    "step": "Five times the errors from the first answer on",
    "ramp": "Growing to five times the errors within 5 minutes",
    "rare": "One kind of input always fails: 2 % of requests, 10 % after 10 minutes",
}

MOST_REQUESTS = 210
MOST_HARM = 0.2


def write(result: dict[str, Any], path: Path) -> None:
    """Put the tables of `result` between the page's two marks; raises ValueError without them."""
    text = path.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{path} must have one {BEGIN} and one {END}")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n{measured(result)}\n{END}{after}")


def measured(result: dict[str, Any]) -> str:
    """The measured part, in Markdown."""
    rows = result["rows"]
    split = result["settings"]["sluice"]["alpha_split"]
    parts = [
        f"Seed {result['seed']}, {result['runs']} rollouts in each cell, three hours each.",
        f"`alpha_split`: {', '.join(f'{name} {part:g}' for name, part in split.items())}.",
        "![False rollbacks, and clients harmed, by rule](canary-rules.svg)",
        _goals(result),
        "### A candidate as good as its baseline: share of rollouts turned back",
        _table(rows, "none", _percent_false),
    ]
    for fault, title in FAULT_TITLES.items():
        parts += [f"### {title}: clients harmed", _table(rows, fault, _harmed)]
    parts += [
        (
            f"### Sessions of {SESSION_MEAN:g} requests on average that fail together "
            "(20/s, 1 % errors)"
        ),
        _sessions(rows),
    ]
    return "\n\n".join(parts)


def _cells(rows: list[dict[str, Any]]) -> list[tuple[float, float]]:
    return sorted({(row["base_error"], row["traffic_rps"]) for row in rows})


def _table(rows: list[dict[str, Any]], fault: str, value: Any) -> str:
    """A line for each rule, a column for each cell."""
    rows = [row for row in rows if row["fault"] == fault and row["session_mean"] == 1]
    cells = _cells(rows)
    head = "| rule | " + " | ".join(f"{error:.1%}, {rps:g}/s" for error, rps in cells) + " |"
    lines = [head, "|---|" + "---:|" * len(cells)]
    by_key = {(row["rule"], row["base_error"], row["traffic_rps"]): row for row in rows}
    for rule, name in NAMES.items():
        values = [value(by_key[rule, *cell]) for cell in cells]
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def _percent_false(row: dict[str, Any]) -> str:
    return f"{row['false_rollback']:.1%}"


def _harmed(row: dict[str, Any]) -> str:
    """The median, the part that was missed, and a mark where the rule is often false."""
    text = _count(row["harmed_p50"])
    if row["missed"] >= 0.01:
        text += f" ({row['missed']:.0%} missed)"
    return f"*{text}*" if row["false_rollback"] > 0.01 else text


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:g}"


def _sessions(rows: list[dict[str, Any]]) -> str:
    """False rollbacks, and what the step does, for each rule on traffic that comes in sessions."""
    lines = ["| rule | false rollbacks | step: clients harmed | missed |", "|---|---:|---:|---:|"]
    for rule, name in SESSION_NAMES.items():
        (row,) = (
            row
            for row in rows
            if row["rule"] == rule and row["fault"] == "step" and row["session_mean"] > 1
        )
        harmed = _count(row["harmed_p50"])
        lines.append(f"| {name} | {_percent_false(row)} | {harmed} | {row['missed']:.1%} |")
    return "\n".join(lines)


def _goals(result: dict[str, Any]) -> str:
    """How the three goals stand, each with its figure."""
    goals, runs = result["goals"], result["runs"]
    alpha, worst = goals["alpha"], goals["worst_false_rollback"]
    chance = math.sqrt(alpha * (1 - alpha) / runs)
    needed = goals["canary_requests_at_10_percent"]
    compared = [row for row in goals["harm"] if row["best_other"]]
    kept = [row for row in compared if _ratio(row) <= MOST_HARM]
    failed = "; ".join(
        f"{row['base_error']:.1%}, {row['traffic_rps']:g}/s, {row['fault']}: "
        f"{_count(row['harmed_p50'])} against {_count(row['best_other_harmed_p50'])} "
        f"({NAMES[row['best_other']]})"
        for row in compared
        if _ratio(row) > MOST_HARM
    )
    tested, split = needed["errors_tested_alone"], needed["default_alpha_split"]
    lines = [
        f"- **False rollbacks** at most alpha = {alpha:.0%} in every cell.",
        f"  The worst of ours is {worst:.2%}, with a standard deviation of {chance:.2%}.",
        f"- **1 % to 5 % of errors at a 10 % split** within {MOST_REQUESTS} candidate requests.",
        f"  The median is {tested:g} when all of alpha is for errors, and {split:g} with the",
        "  default `alpha_split` (steady rates; `benchmarks.canary_power`). A test that knew the",
        f"  ratio beforehand would need {needed['least_for_a_known_ratio']:.0f} in the mean.",
        "- **Clients harmed** at most a fifth of those of the best other rule that finds the fault",
        "  in most rollouts and is false in under 1 % of the same cell: in",
        f"  {len(kept)} of the {len(compared)} cells that have such a rule. After a step to five",
        f"  times the errors, {goals['least_harm_of_step']:g} clients in the mean are the least",
        "  that any test can harm at our alpha and first weight, even one that knew the ratio.",
        f"  Not in: {failed}." if failed else "  No cell is left out.",
    ]
    return "\n".join(lines)


def _ratio(row: dict[str, Any]) -> float:
    other = float(row["best_other_harmed_p50"])
    return float(row["harmed_p50"]) / other if other else math.inf
