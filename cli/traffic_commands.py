"""Commands that move traffic and tell what happened: rollback, abort, pause, skip, history."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import canary_commands
from cli.output import Output, OutputOption, emit, print_table
from cli.promote_command import promote
from cli.rollout_output import OUTCOME_EXIT_CODES, show_result, telling
from cli.session import ModelArgument, ReasonOption, open_platform

WhyOption = Annotated[str, typer.Option("--reason", help="Why; kept in the journal. Required.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (promote, rollback, abort, pause, resume, skip, history):
        app.command()(command)
    canary_commands.add_to(app)


def rollback(
    model: ModelArgument,
    to: Annotated[int, typer.Option("--to", help="Release; default: the last healthy one.")] = 0,
    reason: ReasonOption = "asked for by a person",
    output: OutputOption = Output.TABLE,
) -> None:
    """Send all traffic back to the last healthy release, at any moment. The route goes first.

    Exit 0: it is back. 3: it could not, and a person is needed.

    Example: sluice rollback whisper-grid --reason "complaints about names"
    """
    from cli.progress import progress

    platform = open_platform()
    platform.workspace.require_model(model)
    if to:
        platform.catalog(model).require_release(model, to)
    with telling(platform, model):
        with progress():
            result = platform.controller().rollback(model, to or None, reason).to_dict()
        emit(output, result, lambda: show_result(result))
    raise typer.Exit(0 if result["outcome"] in {"rolled-back", "rejected", "compared"} else 3)


def abort(
    model: ModelArgument,
    reason: ReasonOption = "asked for by a person",
    output: OutputOption = Output.TABLE,
) -> None:
    """Roll back the rollout under way, whoever drives it. Without one, nothing is changed.

    Exit 0: the candidate gets no traffic. 2: no rollout is under way. 3: a person is needed.

    Example: sluice abort whisper-grid --reason "wrong artifact"
    """
    from cli.progress import progress

    platform = open_platform()
    platform.workspace.require_model(model)
    with telling(platform, model):
        with progress():
            result = platform.controller().abort(model, reason).to_dict()
        emit(output, result, lambda: show_result(result))
    raise typer.Exit(0 if result["outcome"] in {"rolled-back", "rejected", "compared"} else 3)


def pause(
    model: ModelArgument,
    reason: ReasonOption = "asked for by a person",
    output: OutputOption = Output.TABLE,
) -> None:
    """Pause a rollout: the candidate gets no traffic until `sluice resume`, but stays loaded.

    Example: sluice pause whisper-grid --reason "waiting for the evening traffic"
    """
    platform = open_platform()
    platform.workspace.require_model(model)
    with telling(platform, model):
        result = platform.controller().request_pause(model, reason).to_dict()
        emit(output, result, lambda: show_result(result))


def resume(
    model: ModelArgument,
    output: OutputOption = Output.TABLE,
) -> None:
    """Go on with a paused rollout, or finish what a killed command left.

    Example: sluice resume whisper-grid
    """
    from cli.progress import progress

    platform = open_platform()
    platform.workspace.require_model(model)
    with telling(platform, model):
        with progress():
            orphaned = platform.lease_is_orphaned(model)
            result = platform.controller().resume(model, take_over=orphaned).to_dict()
        emit(output, result, lambda: show_result(result))
    raise typer.Exit(OUTCOME_EXIT_CODES[result["outcome"]])


def skip(
    model: ModelArgument,
    reason: WhyOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Go to the rollout's next step without waiting for what is left of this one.

    Evidence of harm still turns the candidate back. Exit codes as of promote; 0 also when the
    command that drives the rollout goes on with it.

    Example: sluice skip whisper-grid --reason "tried by hand in staging"
    """
    from cli.progress import progress

    platform = open_platform()
    platform.workspace.require_model(model)
    with telling(platform, model):
        with progress():
            orphaned = platform.lease_is_orphaned(model)
            result = platform.controller().skip(model, reason, take_over=orphaned).to_dict()
        emit(output, result, lambda: show_result(result))
    raise typer.Exit(OUTCOME_EXIT_CODES[result["outcome"]])


def history(
    model: ModelArgument,
    limit: Annotated[int, typer.Option("--limit", help="Newest entries to show.")] = 40,
    everything: Annotated[
        bool, typer.Option("--all", help="Also each effect and observation.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell the model's life from the journal, whose hash chain is checked first.

    Example: sluice history whisper-grid --limit 10
    """
    from pipelines.narration import matters

    platform = open_platform()
    platform.workspace.require_model(model)
    platform.journal.verify(model)
    entries = platform.journal.read(model)
    if not everything:
        entries = tuple(filter(matters, entries))
    entries = entries[-limit:]
    records = [
        {
            "sequence": entry.sequence,
            "at": entry.at,
            "actor": entry.actor,
            "kind": entry.kind,
            "body": dict(entry.body),
            "hash": entry.hash,
        }
        for entry in entries
    ]

    def show() -> None:
        from pipelines.narration import sentence

        print_table(
            ["#", "when", "what"],
            [[entry.sequence, _clock(entry.at), sentence(entry)] for entry in entries],
        )

    emit(output, records, show)


def _clock(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M:%S")
