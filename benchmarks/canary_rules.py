"""Rules that turn a canary back, on the same simulated traffic: the field's, and ours.

    python -m benchmarks.canary_rules --seed 1

prints a row for each rule and cell, and one JSON object on its last line. `--out FILE` draws the
figure, `--write` puts table and figure into `docs/explanation/canary-rules.md`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.canary_field import table
from benchmarks.canary_field.argo import Argo
from benchmarks.canary_field.flagger import Flagger
from benchmarks.canary_field.kayenta import Kayenta
from benchmarks.canary_field.naive import Naive
from canary.plan import RolloutPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).resolve().parent.parent / "docs" / "explanation"
COLUMNS = (
    "false_rollback", "missed", "harmed_p50", "canary_requests_p50", "seconds_p50",
)  # fmt: skip


def measure(*, runs: int, seed: int, traffic_rps: Sequence[float]) -> dict[str, Any]:
    """All rows, our goals and the settings, as one JSON value; prints each row when it is done."""
    started = time.perf_counter()
    rows = []
    for row in table.rows(runs=runs, seed=seed, traffic_rps=traffic_rps):
        rows.append(row)
        print(line(row), flush=True)
    goals = table.goals(rows, runs=runs, seed=seed)
    return {
        "seed": seed,
        "runs": runs,
        "settings": settings(),
        "goals": goals,
        "rows": rows,
        "seconds": round(time.perf_counter() - started, 1),
    }


def settings() -> dict[str, Any]:
    """What every rule was set to."""
    return {
        "flagger": repr(Flagger()),
        "argo": repr(Argo()),
        "kayenta": repr(Kayenta()),
        "naive": repr(Naive()),
        "sluice": RolloutPlan().model_dump(mode="json"),
        "fitted_limit": f"{table.FITTED:g} times the cell's own error rate",
        "session_mean": table.SESSION_MEAN,
        "requests_per_session_stated": table.LONGEST_SESSION,
    }


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    sessions = " in sessions" if row["session_mean"] > 1 else ""
    cell = f"{row['traffic_rps']:g}/s {row['base_error']:.1%} {row['fault']}{sessions}"
    values = ", ".join(
        f"{name} {'-' if row[name] is None else format(row[name], 'g')}" for name in COLUMNS
    )
    return f"{cell}: {row['rule']}: {values}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument(
        "--traffic", type=float, nargs="+", default=table.TRAFFIC_RPS, choices=table.TRAFFIC_RPS,
        help="requests per second of the cells to measure (default: all)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="draw the figure here (.svg or .png)")
    parser.add_argument("--write", action="store_true", help="write the page of the documentation")
    given = parser.parse_args(arguments)
    result = measure(runs=given.runs, seed=given.seed, traffic_rps=given.traffic)
    if given.out or given.write:
        from benchmarks.canary_field import page, plots

        if given.out:
            plots.draw_figure(result, given.out)
        if given.write:
            plots.draw_figure(result, DOCS / "canary-rules.svg")
            page.write(result, DOCS / "canary-rules.md")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
