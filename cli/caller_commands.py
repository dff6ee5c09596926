"""Commands for the tokens by which callers open the front door: add, list, withdraw, rotate."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.output import Output, OutputOption, emit, print_pairs, print_table
from cli.session import open_platform

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the journal.")]
NameArgument = Annotated[str, typer.Argument(help="The caller, as `asr-app`.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    callers = typer.Typer(
        no_args_is_help=True,
        help="Tokens for callers of the front door, asked for where sluice.toml has "
        'callers = "tokens" under serving.',
    )
    for command in (add, withdraw, rotate):
        callers.command()(command)
    callers.command("list")(show)
    app.add_typer(callers, name="callers")


def add(
    name: NameArgument,
    days: Annotated[float, typer.Option("--days", help="How long it counts, up to 366.")] = 90,
    reason: ReasonOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Give a caller a token, which is shown this once: it goes into `Authorization: Bearer`.

    Example: sluice callers add asr-app --days 30
    """
    from pipelines.trust_changes import add_caller

    made, token = add_caller(open_platform(), name, days, reason=reason)
    shown = [("caller", made.name), ("id", made.id), ("until", _day(made.expires_at))]

    def tell() -> None:
        print_pairs(shown)
        typer.echo(token)

    emit(output, asdict(made) | {"token": token}, tell)


def withdraw(
    name: NameArgument,
    identifier: Annotated[
        str, typer.Option("--id", help="Only this one of the caller's tokens.")
    ] = "",
    reason: ReasonOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Refuse a caller's tokens from now on, without a restart.

    Example: sluice callers withdraw asr-app
    """
    from pipelines.trust_changes import withdraw_caller

    gone = withdraw_caller(open_platform(), name, identifier, reason=reason)
    emit(
        output,
        {"withdrawn": [asdict(token) for token in gone]},
        lambda: print_pairs(("withdrawn", f"{token.name} {token.id}") for token in gone),
    )


def rotate(reason: ReasonOption = "", output: OutputOption = Output.TABLE) -> None:
    """Sign new tokens with a new key; those of the keys before count until their end.

    Example: sluice callers rotate
    """
    from pipelines.trust_changes import rotate_caller_key

    rotate_caller_key(open_platform(), reason=reason)
    emit(output, {"rotated": True}, lambda: print_pairs([("key", "a new one signs from now on")]))


def show(output: OutputOption = Output.TABLE) -> None:
    """List the tokens that were given out, without the tokens themselves.

    Example: sluice callers list
    """
    import time

    from infra.local.callers import Callers

    now = time.time()
    rows = [
        asdict(token) | {"counts": token.counts(now)}
        for token in Callers(open_platform().workspace).tokens()
    ]
    emit(
        output,
        {"tokens": rows},
        lambda: print_table(
            ("caller", "id", "given", "until", "counts"),
            [
                (
                    row["name"],
                    row["id"],
                    _day(row["made_at"]),
                    _day(row["expires_at"]),
                    "yes" if row["counts"] else "no",
                )
                for row in rows
            ],
        ),
    )


def _day(at: float) -> str:
    import time

    return time.strftime("%Y-%m-%d", time.gmtime(at))
