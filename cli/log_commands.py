"""`sluice log import`, `status`, `compact`, `ship`, `prune`: the prediction log as a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import Output, OutputOption, emit, megabytes, print_pairs, print_table
from cli.session import ModelArgument
from cli.wave_commands import RegionOption, placed_platform

if TYPE_CHECKING:
    from collections.abc import Sequence

log = typer.Typer(no_args_is_help=True, help="Import, count, merge, move and delete past records.")

SomeModel = Annotated[str, typer.Argument(metavar="[NAME]", help="A model; default: all.")]
ArchiveOption = Annotated[
    bool, typer.Option("--archive", help="In records.archive, not in the workspace.")
]
_SHOWN = 20


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for name, command in (
        ("import", import_),
        ("status", status),
        ("compact", compact),
        ("ship", ship),
        ("prune", prune),
    ):
        log.command(name)(command)
    app.add_typer(log, name="log")


def import_(
    model: ModelArgument,
    files: Annotated[list[Path], typer.Argument(help="Parquet or JSON Lines (.jsonl, .ndjson).")],
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=THEIRS", help="Our column is called so in the file."),
    ] = None,
    release: Annotated[
        int, typer.Option("--release", min=0, help="Of all rows; default: their column.")
    ] = 0,
    archive: ArchiveOption = False,
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Take records of your own into the log: all of them, or none.

    Needed: at, latency_ms, a release. What the log has already is passed over. Texts are redacted.
    Exit 1 when a row is refused; nothing is written then.

    Example: sluice log import speech may.jsonl --release 1 --map at=time --map latency_ms=ms
    """
    import time

    from cli.progress import progress
    from pipelines.prediction_log_import import import_records

    with progress():
        told = import_records(
            placed_platform(region),
            model,
            files,
            mapping=mapped or (),
            release=release or None,
            now=time.time(),
            archive=archive,
        )

    def show() -> None:
        for sentence in told["refused"]:
            typer.echo(f"- {sentence}")
        if told["refused"]:
            typer.echo("refused: nothing was imported")
            return
        facts = [(name, told[name]) for name in ("rows", "imported", "known")]
        print_pairs([*facts, ("parts", len(told["parts"]))])
        if told["unused"]:
            typer.echo(f"not used: {', '.join(told['unused'])}")

    emit(output, told, show)
    raise typer.Exit(1 if told["refused"] else 0)


def status(
    model: ModelArgument, region: RegionOption = "", output: OutputOption = Output.TABLE
) -> None:
    """Count a model's records, hours, parts and bytes, and what was lost or cannot be read.

    Example: sluice log status whisper-grid
    """
    from pipelines.prediction_log_upkeep import log_status

    told = log_status(placed_platform(region), model)

    def show() -> None:
        columns = ["release", "records", "hours", "parts", "size", "since", "until"]
        rows = [
            [row["release"], row["records"], row["hours"], row["parts"]]
            + [megabytes(row["size"]), row["oldest"], row["newest"]]
            for row in told["held"]
        ]
        print_table(columns, rows) if rows else typer.echo("no records")
        for row in told["held"]:
            for name, words in (("dropped", "records were lost"), ("skipped", "parts are damaged")):
                if row[name]:
                    typer.echo(f"- release {row['release']}: {row[name]} {words}")
        for place in sorted({row["place"] for row in told["held"]}):
            typer.echo(f"in {place}")
        for away in told["unreachable"]:
            typer.echo(f"- {away['place']} cannot be reached: {away['reason']}")
        typer.echo(f"kept for {told['keep_days'] or 'any number of'} days")

    emit(output, told, show)
    raise typer.Exit(2 if told["unreachable"] else 0)


def compact(
    model: SomeModel = "",
    archive: ArchiveOption = False,
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Merge the parts of hours that are over, one for each release and hour.

    Hours of a rollout under way are left alone. With --archive, from one machine at a time.

    Example: sluice log compact whisper-grid
    """
    import time

    from cli.progress import progress
    from pipelines.prediction_log_merge import merge_log

    with progress():
        told = merge_log(placed_platform(region), model, now=time.time(), archive=archive)
    columns = ("model", "release", "hour", "before", "after", "records", "duplicates")

    def show() -> None:
        _show_hours(told["hours"], columns, "nothing to merge")
        for row in told["hours"]:
            for name in row["damaged"]:
                typer.echo(f"- {row['model']}, {row['hour']}: {name} cannot be read; it was kept")

    emit(output, told, show)


def ship(
    model: SomeModel = "", region: RegionOption = "", output: OutputOption = Output.TABLE
) -> None:
    """Merge hours that are over and move them to records.archive, checked by hash.

    Example: sluice log ship
    """
    import time

    from cli.progress import progress
    from pipelines.prediction_log_ship import ship_log

    with progress():
        told = ship_log(placed_platform(region), model, now=time.time())
    columns = ("model", "release", "hour", "parts", "size")
    emit(output, told, lambda: _show_hours(told["hours"], columns, "nothing to move"))


def prune(
    model: SomeModel = "",
    keep_days: Annotated[
        int, typer.Option("--keep-days", min=0, help="Default: records.keep_days.")
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted.")] = False,
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete hours that are older than records are kept, here and in the archive.

    Example: sluice log prune --keep-days 30 --dry-run
    """
    import time

    from cli.progress import progress
    from pipelines.prediction_log_upkeep import prune_log

    with progress():
        told = prune_log(
            placed_platform(region),
            model,
            now=time.time(),
            keep_days=keep_days,
            is_rehearsal=dry_run,
        )
    columns = ("model", "release", "hour", "parts", "size")

    def show() -> None:
        _show_hours(told["deleted"], columns, f"nothing is older than {told['keep_days']} days")
        if told["deleted"]:
            typer.echo("nothing was deleted: a dry run" if dry_run else "deleted")

    emit(output, told, show)


def _show_hours(rows: Sequence[dict[str, Any]], columns: Sequence[str], nothing: str) -> None:
    if not rows:
        typer.echo(nothing)
        return
    print_table(columns, [[row[name] for name in columns] for row in rows[:_SHOWN]])
    if len(rows) > _SHOWN:
        typer.echo(f"and {len(rows) - _SHOWN} hours more")
    if "size" in columns:
        typer.echo(megabytes(sum(row["size"] for row in rows)))
