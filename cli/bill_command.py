"""`sluice bom`: what the project or a release is made of, as CycloneDX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.output import Output, OutputOption, emit, print_pairs
from cli.session import open_platform


def add_to(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(bom)


def bom(
    model: Annotated[
        str, typer.Argument(metavar="[NAME]", help="The model; default: Sluice itself.")
    ] = "",
    release: Annotated[
        int, typer.Argument(metavar="[RELEASE]", help="Default: the live one.", min=0)
    ] = 0,
    file: Annotated[
        Path | None, typer.Option("--file", help="Write it there instead of printing it.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print a bill of materials (CycloneDX 1.6 JSON): of a release's files, origin and tools.

    Every file of the release is hashed on the way.

    Example: sluice bom speech 3 --file speech-3.cdx.json
    """
    content = _bill(model, release)
    if file is None:
        typer.echo(content, nl=False)
        return
    from registry.files import write_atomic

    write_atomic(file, content.encode())
    emit(output, {"written": str(file)}, lambda: print_pairs([("wrote", file)]))


def _bill(model: str, release: int) -> str:
    if not model:
        from infra.bill_of_materials import project_bill

        return project_bill()
    from pipelines.release_bill import release_bill
    from registry.errors import UserError

    platform = open_platform()
    platform.workspace.require_model(model)
    chosen = release or platform.serving(model).live
    if chosen is None:
        raise UserError(
            "no release is live", where=model, remedy=f"name one: `sluice bom {model} RELEASE`"
        )
    return release_bill(platform, model, chosen)
