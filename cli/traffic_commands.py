"""Commands that move traffic and tell what happened: rollback, abort, pause, skip, history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli import canary_commands
from cli.output import Output, OutputOption, emit, print_table
from cli.promote_command import promote
from cli.rollout_output import OUTCOME_EXIT_CODES, show_result, telling
from cli.session import ModelArgument, ReasonOption
from cli.wave_commands import (
    EXIT_CODES,
    RegionOption,
    acting_platform,
    platform_under_way,
    show_waves,
    waves_of,
)

if TYPE_CHECKING:
    from pipelines.assembly import Platform
    from pipelines.waves.coordinator import Coordinator

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
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Send all traffic back to the last healthy release, at any moment. The route goes first.

    A model that went out in waves goes back in every region, or in the one named.

    Exit 0: it is back. 3: it could not, and a person is needed.

    Example: sluice rollback whisper-grid --reason "complaints about names"
    """
    from cli.progress import progress

    platform = acting_platform(model, region)
    if (waves := waves_of(platform, model)) is not None:
        _send_all_back(waves, platform, model, to, reason, output)
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
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Roll back the rollout under way, whoever drives it. Without one, nothing is changed.

    Exit 0: the candidate gets no traffic. 2: no rollout is under way. 3: a person is needed.

    Example: sluice abort whisper-grid --reason "wrong artifact"
    """
    from cli.progress import progress

    platform = acting_platform(model, region)
    waves = waves_of(platform, model)
    if waves is not None and waves.state(model).waves is not None:
        _send_all_back(waves, platform, model, 0, reason, output)
    with telling(platform, model):
        with progress():
            result = platform.controller().abort(model, reason).to_dict()
        emit(output, result, lambda: show_result(result))
    raise typer.Exit(0 if result["outcome"] in {"rolled-back", "rejected", "compared"} else 3)


def pause(
    model: ModelArgument,
    reason: ReasonOption = "asked for by a person",
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Pause a rollout: the candidate gets no traffic until `sluice resume`, but stays loaded.

    Example: sluice pause whisper-grid --reason "waiting for the evening traffic"
    """
    platform = platform_under_way(acting_platform(model, region), model)
    with telling(platform, model):
        result = platform.controller().request_pause(model, reason).to_dict()
        emit(output, result, lambda: show_result(result))


def resume(
    model: ModelArgument,
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Go on with a paused rollout, or finish what a killed command left.

    Example: sluice resume whisper-grid
    """
    from cli.progress import progress

    platform = acting_platform(model, region)
    if (waves := waves_of(platform, model)) is not None:
        with telling(platform, model), progress():
            orphaned = platform.lease_is_orphaned(model)
            result = waves.resume(model, take_over=orphaned).to_dict()
        emit(output, result, lambda: show_waves(result))
        raise typer.Exit(EXIT_CODES[result["outcome"]])
    with telling(platform, model):
        with progress():
            orphaned = platform.lease_is_orphaned(model)
            result = platform.controller().resume(model, take_over=orphaned).to_dict()
        emit(output, result, lambda: show_result(result))
    raise typer.Exit(OUTCOME_EXIT_CODES[result["outcome"]])


def skip(
    model: ModelArgument,
    reason: WhyOption = "",
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Go to the rollout's next step without waiting for what is left of this one.

    Evidence of harm still turns the candidate back. Exit codes as of promote; 0 also when the
    command that drives the rollout goes on with it.

    Example: sluice skip whisper-grid --reason "tried by hand in staging"
    """
    from cli.progress import progress

    platform = platform_under_way(acting_platform(model, region), model)
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
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell the model's life from the journal, whose hash chain is checked first.

    Example: sluice history whisper-grid --limit 10
    """
    from pipelines.narration import matters

    platform = acting_platform(model, region)
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


def _send_all_back(
    waves: Coordinator, platform: Platform, model: str, to: int, reason: str, output: Output
) -> None:
    """In every region; ends the command. Exit 0: all are back. 3: some are not."""
    from cli.progress import progress
    from registry.errors import UserError

    if to:
        raise UserError("`--to` is of one region; name it with `--region`", where=model)
    with telling(platform, model), progress():
        result = waves.rollback(model, reason).to_dict()
    emit(output, result, lambda: show_waves(result))
    raise typer.Exit(0 if result["outcome"] == "reverted" and not result["owed"] else 3)
