"""`sluice scrub` asks whether every byte that is kept is still the one that was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import Output, OutputOption, emit, megabytes, print_table
from cli.session import open_platform

if TYPE_CHECKING:
    from pipelines.scrubbing import Outcome, Scrubbed

SomeModel = Annotated[str, typer.Argument(metavar="[NAME]", help="A model; default: everything.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(scrub)


def scrub(model: SomeModel = "", output: OutputOption = Output.TABLE) -> None:
    """Hash every stored byte from the disk; take away what is damaged, heal what can be.

    What was taken away lies in .sluice/quarantine. Nothing that runs is stopped.
    Exit 0: all is as recorded. 1: something was not; the journal has it.

    Example: sluice scrub whisper-grid
    """
    from cli.progress import progress
    from pipelines.scrubbing import scrub_workspace

    platform = open_platform()
    with progress():
        scrubbed = scrub_workspace(platform, model)
    emit(output, scrubbed.to_json(), lambda: _show(scrubbed))
    raise typer.Exit(0 if scrubbed.whole else 1)


def _show(scrubbed: Scrubbed) -> None:
    print_table(
        ["place", "files", "bytes", "findings"],
        [
            [one.place, one.files, megabytes(one.bytes), len(one.findings)]
            for one in scrubbed.checked
        ],
    )
    for one in scrubbed.checked:
        if one.remark:
            typer.echo(f"- {one.place}: {one.remark}")
    for outcome in scrubbed.outcomes:
        _show_outcome(outcome)
    if scrubbed.whole:
        reached = " that was reached" if any(one.cut_off for one in scrubbed.checked) else ""
        typer.echo(f"every byte{reached} is as recorded")


def _show_outcome(outcome: Outcome) -> None:
    finding = outcome.finding
    typer.echo(f"- {outcome.outcome}: {finding.path} {finding.what}")
    for name, value in (
        ("it is now", outcome.moved_to),
        ("healed from", outcome.healed_from),
        ("since", outcome.reason),
    ):
        if value:
            typer.echo(f"  {name} {value}")
    for one in outcome.affected:
        typer.echo(f"  concerns {one.sentence()}")
