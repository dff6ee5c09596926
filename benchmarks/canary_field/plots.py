"""The figure: how often each rule is false, and what a fault costs clients until it is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

NAMES = {
    "naive": "twice the rate in 5 min",
    "flagger": "Flagger, 99 %",
    "flagger_fitted": "Flagger, fitted limit",
    "argo": "Argo Rollouts, 95 %",
    "argo_fitted": "Argo Rollouts, fitted limit",
    "kayenta": "Kayenta",
    "sluice": "Sluice, default plan",
    "sluice_slow_steps": "Sluice, 10 min a step",
}
"""Rules in the order of the figure and of the tables."""

TRAFFIC = {1.0: ("o", "#0072B2"), 20.0: ("s", "#E69F00"), 500.0: ("^", "#009E73")}
"""A marker and a colour (Okabe and Ito's, told apart by the colour-blind) for each traffic."""

SHOWN_BASE = 0.01


def draw_figure(result: dict[str, Any], path: Path) -> None:
    """Draw `result`, what `benchmarks.canary_rules` measured, into `path`."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "canary-rules"
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    rows = [row for row in result["rows"] if row["session_mean"] == 1]
    _false(left, rows, result)
    _harm(right, rows)
    left.set_yticks(range(len(NAMES)), list(NAMES.values()))
    left.invert_yaxis()
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, dpi=150, metadata=metadata)
    plt.close(figure)


def _false(axes: Axes, rows: list[dict[str, Any]], result: dict[str, Any]) -> None:
    """A mark for each cell without a fault: the share of runs that were turned back."""
    for row in rows:
        if row["fault"] == "none":
            marker, colour = TRAFFIC[row["traffic_rps"]]
            at = list(NAMES).index(row["rule"]) + _offset(row["traffic_rps"])
            axes.plot(row["false_rollback"], at, marker, color=colour, alpha=0.8)
    alpha = result["goals"]["alpha"]
    axes.axvline(alpha, color="black", linestyle="--", linewidth=1)
    axes.set_xscale("symlog", linthresh=0.01, linscale=0.7)
    axes.set_xlim(-0.002, 1.2)
    axes.set_xticks([0, alpha, 0.1, 1], ["0", "1 %", "10 %", "100 %"])
    axes.set_xlabel("false rollbacks (dashed: Sluice's stated alpha)")
    axes.set_title("Candidate as good as its baseline", fontsize=11)
    axes.grid(axis="x", alpha=0.3)


def _harm(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """A mark for each traffic: harm of the step from 1 % to 5 %, hollow where the rule is false."""
    shown = [row for row in rows if row["fault"] == "step" and row["base_error"] == SHOWN_BASE]
    for row in shown:
        marker, colour = TRAFFIC[row["traffic_rps"]]
        face = colour if row["false_rollback"] <= 0.01 else "none"
        at = list(NAMES).index(row["rule"]) + _offset(row["traffic_rps"])
        harmed = max(row["harmed_p50"], 1)
        axes.plot(harmed, at, marker, color=colour, markerfacecolor=face, markersize=7)
    for rps, (marker, colour) in TRAFFIC.items():
        axes.plot([], [], marker, color=colour, label=f"{rps:g} requests/s")
    axes.plot([], [], "o", color="grey", markerfacecolor="none", label="over 1 % false")
    axes.set_xscale("log")
    axes.set_xlabel("clients harmed until the rollback, median")
    axes.set_title("Errors rise from 1 % to 5 %", fontsize=11)
    axes.grid(axis="x", alpha=0.3)


def _offset(rps: float) -> float:
    """Marks of one rule stand below each other by traffic."""
    return (list(TRAFFIC).index(rps) - 1) * 0.22
