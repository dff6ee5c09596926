"""Commands about the evidence of a rollout: `sluice canary explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import Output, OutputOption, emit, print_pairs, print_table
from cli.session import ModelArgument, open_platform

if TYPE_CHECKING:
    from canary.explanation import Explanation

canary = typer.Typer(no_args_is_help=True, help="Look into the decisions of a rollout.")


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    canary.command()(explain)
    app.add_typer(canary, name="canary")


def explain(
    model: ModelArgument,
    rollout: Annotated[
        int, typer.Option("--rollout", help="Its number; default: the latest.", min=0)
    ] = 0,
    page: Annotated[
        Path | None, typer.Option("--page", help="Also write it as one HTML file.", dir_okay=False)
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a rollout's decisions again from the journal, and show the evidence over time.

    Exit 0: every decision comes out the same. 1: some do not; they are named.

    Example: sluice canary explain whisper-grid --page rollout.html
    """
    from pipelines.explain import explain_rollout, write_page

    platform = open_platform()
    explanation = explain_rollout(platform, model, rollout or None)
    if page is not None:
        write_page(explanation, page)
    value = {**explanation.to_json(), "page": str(page) if page is not None else None}
    emit(output, value, lambda: _show(explanation, page))
    raise typer.Exit(1 if explanation.disagreements else 0)


def _show(explanation: Explanation, page: Path | None) -> None:
    from canary.explain_words import answers, because, length_of, replayed, share, strongest

    rows: list[tuple[str, object]] = [
        ("model", explanation.model),
        ("rollout", f"{explanation.rollout}, {_releases(explanation)}"),
        ("outcome", explanation.outcome),
        ("reason", explanation.reason),
        ("replay", replayed(explanation)),
    ]
    print_pairs([*rows, ("page", page)] if page is not None else rows)
    _show_disagreements(explanation)
    typer.echo()
    print_table(
        ["step", "share", "cand.", "base", "took", "nearest to harm", "why it went on"],
        [
            [
                step.title,
                share(step),
                *answers(step),
                length_of(step),
                strongest(step),
                because(step),
            ]
            for step in explanation.steps
        ],
    )
    _show_curves(explanation)


def _releases(explanation: Explanation) -> str:
    against = explanation.baseline
    return f"release {explanation.candidate} " + (
        "as the first one" if against is None else f"against {against}"
    )


def _show_disagreements(explanation: Explanation) -> None:
    for one in explanation.disagreements:
        typer.echo(
            f"entry {one.sequence} says {one.recorded.decision} ({one.recorded.reason}); "
            f"its observation gives {one.again.decision} ({one.again.reason})"
        )


def _show_curves(explanation: Explanation) -> None:
    """Every test in a line; a chart of each that went more than half of its way."""
    from canary.explain_plot import text_chart
    from canary.explain_words import LETTERS, e_value, status, title

    if not any(step.candidate_requests + step.pairs for step in explanation.steps):
        return
    typer.echo()
    print_table(
        ["test", "highest e-value", "acts at", ""],
        [
            [title(one.name), e_value(one.highest), e_value(one.acts_at), status(one)[1]]
            for one in explanation.curves
        ],
    )
    ranked = sorted(explanation.curves, key=lambda one: one.highest / one.acts_at, reverse=True)
    shown = [one for one in ranked if one.highest >= one.acts_at / 2] or ranked[:1]
    for curve in shown:
        typer.echo(f"\n{title(curve.name)}: e-value, log scale")
        typer.echo("\n".join(text_chart(curve, explanation)))
    letters = ", ".join(f"{letter} {name}" for name, letter in LETTERS.items())
    typer.echo(letters)
