"""Commands about what was done: audit, journal verify, and journal anchor."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import Output, OutputOption, emit, print_pairs, print_table
from cli.session import open_platform
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registry.journal import Entry

journal = typer.Typer(
    name="journal",
    no_args_is_help=True,
    help="Check that the journal is what was written, and anchor it where nobody can rewrite it. "
    "Example: sluice journal verify",
)


class Format(StrEnum):
    """How entries are printed."""

    TABLE = "table"
    JSONL = "jsonl"
    CEF = "cef"


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(audit)
    for command in (verify, anchor):
        journal.command()(command)
    app.add_typer(journal)


def audit(
    model: Annotated[str, typer.Argument(metavar="[NAME]", help="One model only.")] = "",
    *,
    since: Annotated[str, typer.Option("--since", help="7d, 12h, or 2026-03-01.")] = "",
    until: Annotated[str, typer.Option("--until", help="As --since; not included.")] = "",
    actor: Annotated[str, typer.Option("--actor", help="Who did it.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="Such as release-approved.")] = "",
    form: Annotated[
        Format, typer.Option("--format", help="jsonl and cef are for log collectors.")
    ] = Format.TABLE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell who did what to which model, when and from where, by time, over all models.

    The chains are not checked: `sluice journal verify` does that.

    Example: sluice audit --since 7d --format cef
    """
    import time

    from pipelines.audit import record
    from registry.journal import Wanted

    now = time.time()
    limits = {"since": _moment(since, now)} if since else {}
    if until:
        limits["until"] = _moment(until, now)
    entries = open_platform().journal.search(Wanted(model, actor, kind, **limits))
    if output is Output.JSON:
        emit(output, [record(entry) for entry in entries], lambda: None)
    elif form is Format.TABLE:
        _show(entries)
    else:
        _stream(entries, form)


def verify(
    model: Annotated[str, typer.Argument(metavar="[NAME]", help="One model only.")] = "",
    *,
    anchor: Annotated[
        Path | None, typer.Option("--anchor", help="A file that `journal anchor` wrote.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check every entry's hash and place; with an anchor, that nothing before it was rewritten.

    Exit 0: everything holds. 1: something was edited, deleted, reordered or cut off.

    Example: sluice journal verify --anchor anchor.json
    """
    from pipelines.audit import verify_journals

    rows = verify_journals(open_platform(), model, anchor)

    def show() -> None:
        print_table(
            ["model", "entries", "holds"], [[r["model"], r["entries"], r["ok"]] for r in rows]
        )
        for row in rows:
            if row["trouble"]:
                typer.echo(row["trouble"])

    emit(output, {"journals": rows}, show)
    raise typer.Exit(0 if all(row["ok"] for row in rows) else 1)


def anchor(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A new file.")] = None,
    *,
    git_note: Annotated[
        bool, typer.Option("--git-note", help="Add it to the workspace's commit, ref notes/sluice.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write the signed newest hashes of all models, to be kept where nobody can rewrite them.

    A note is not pushed by itself: `git push origin refs/notes/sluice`.

    Example: sluice journal anchor anchor.json
    """
    from pipelines.audit import anchor_journals

    if file is None and not git_note:
        raise UserError("an anchor needs a FILE, --git-note, or both")
    value = anchor_journals(open_platform(), file, git_note=git_note)
    shown = [*value["heads"].items(), ("file", value["file"]), ("commit", value["commit"])]
    emit(output, value, lambda: print_pairs((name, told) for name, told in shown if told))


def _moment(given: str, now: float) -> float:
    """Seconds since the epoch: so long ago, or the beginning of a day or a moment, UTC."""
    from datetime import UTC, datetime

    from cli.durations import seconds

    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        return now - seconds(given)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _show(entries: Iterable[Entry]) -> None:
    from datetime import UTC, datetime

    from pipelines.audit import told

    rows = [
        [
            datetime.fromtimestamp(entry.at, UTC).strftime("%m-%d %H:%M:%S"),
            entry.model,
            entry.sequence,
            f"{entry.actor} for {entry.origin['for']}" if "for" in entry.origin else entry.actor,
            told(entry),
        ]
        for entry in entries
    ]
    print_table(["when", "model", "#", "who", "what"], rows)


def _stream(entries: Iterable[Entry], form: Format) -> None:
    from importlib.metadata import version

    from pipelines.audit import record, told
    from registry.cef import to_cef

    ours = version("sluice")
    for entry in entries:
        if form is Format.CEF:
            typer.echo(to_cef(entry, told(entry), ours))
        else:
            typer.echo(json.dumps(record(entry), ensure_ascii=False))
