"""Commands for evaluation sets: data add, data list, data verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import Output, OutputOption, emit, print_pairs, print_table
from cli.session import find_workspace, open_platform

data = typer.Typer(
    name="data",
    no_args_is_help=True,
    help="Add evaluation sets, list them, and verify their bytes.",
)


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for name, command in (("add", add), ("list", list_), ("verify", verify)):
        data.command(name=name)(command)
    app.add_typer(data)


def add(
    folder: Annotated[Path, typer.Argument(help="A folder with dataset.json.")],
    write: Annotated[
        str, typer.Option("--write", metavar="MODEL", help="Pin it in models/MODEL.toml.")
    ] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Hash a set, check its contract, track it with DVC, and say how to pin it.

    Exit 1 when the contract does not hold; nothing is changed then.
    Example: sluice data add data/evaluation --write whisper-grid
    """
    from cli.progress import progress
    from pipelines.data_sets import add_set
    from registry.access import Action

    open_platform().require(Action.DATA, write or "*")
    with progress():
        added = add_set(find_workspace(), folder, model=write)

    def show() -> None:
        for sentence in added["broken"]:
            typer.echo(f"- {sentence}")
        if added["broken"]:
            typer.echo(f"refused: {len(added['broken'])} expectations do not hold")
            return
        facts = (("set", added["name"]), ("kind", added["kind"]), ("hours", added["hours"]))
        print_pairs([*facts, ("utterances", added["utterances"])])
        for key in ("dataset", "sha256", "revision"):
            if added[key]:
                typer.echo(f'{key} = "{added[key]}"')
        if not added["revision"]:
            typer.echo(
                "no revision: with DVC's files committed to git, add the set again to pin one"
            )
        where = added["written"] or "nowhere: copy the lines into [gate], or give --write"
        typer.echo(f"written to {where}")

    emit(output, added, show)
    raise typer.Exit(1 if added["broken"] else 0)


def list_(output: OutputOption = Output.TABLE) -> None:
    """List the sets that models pin and those in the workspace, by their headers.

    Example: sluice data list
    """
    from pipelines.data_sets import list_sets

    rows = list_sets(find_workspace())

    def show() -> None:
        columns = ["set", "kind", "utterances", "hours", "hash", "pinned by", "state"]
        print_table(columns, [_listed(row) for row in rows])
        for row in rows:
            if row["detail"]:
                typer.echo(f"- {row['detail']}")

    emit(output, {"sets": rows}, show)


def verify(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="A set or its folder.")] = "all",
    output: OutputOption = Output.TABLE,
) -> None:
    """Hash every byte against the pins and DVC's lock; exit 1 when something differs.

    Example: sluice data verify evaluation
    """
    from cli.progress import progress
    from pipelines.data_sets import verify_sets

    with progress():
        rows = verify_sets(find_workspace(), name)

    def show() -> None:
        for row in rows:
            typer.echo(f"{row['name']} ({row['folder']}): {'holds' if row['ok'] else 'DIFFERS'}")
            for finding in row["findings"]:
                typer.echo(f"- {finding}")

    emit(output, {"sets": rows}, show)
    raise typer.Exit(0 if all(row["ok"] for row in rows) else 1)


def _listed(row: dict[str, Any]) -> list[object]:
    return [
        row["name"],
        row["kind"] or "-",
        row["utterances"],
        f"{row['hours']:.2f}",
        row["sha256"][:8] or "-",
        ", ".join(row["pinned_by"]) or "-",
        row["state"],
    ]
