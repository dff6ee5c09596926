"""Command that says what may come in: `sluice inspect`, which registers nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import Output, OutputOption, emit, megabytes, print_table

if TYPE_CHECKING:
    from registry.intake.gatekeeper import Examination


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(inspect)


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A model's folder, or an archive.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what each file of a model is, and which would be refused; register nothing.

    Exit 0 when all of it may come in, else 2. Formats are decided by content; see the list in
    docs/explanation/intake.md.

    Example: sluice inspect examples/grid/models/whisper-grid
    """
    found = _examined(path)
    value: dict[str, Any] = {
        "path": str(path),
        "admitted": not found.refusals,
        "files": [
            {"path": one.path, "format": one.format, "bytes": one.size} for one in found.files
        ],
        "refusals": [
            {"path": one.path, "reason": one.reason, "remedy": one.remedy} for one in found.refusals
        ],
    }

    def show() -> None:
        print_table(
            ["file", "is", "size"],
            [[one.path, one.format, megabytes(one.size)] for one in found.files],
        )
        for one in found.refusals:
            typer.echo(f"refused: {one.path}: {one.reason}")
        if not found.refusals:
            typer.echo("all of it may come in")

    emit(output, value, show)
    raise typer.Exit(2 if found.refusals else 0)


def _examined(path: Path) -> Examination:
    import tempfile

    from registry.intake.archives import is_archive, unpack
    from registry.intake.gatekeeper import examine

    if not is_archive(path):
        return examine(path)
    with tempfile.TemporaryDirectory(prefix="sluice-inspect-") as work:
        return examine(unpack(path, Path(work)))
