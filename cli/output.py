"""What a command prints: one table that fits 80 columns, or one JSON document."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Output(StrEnum):
    """Who reads the answer."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="table for people, json for machines.")
]


def emit(output: Output, value: Any, show: Callable[[], None]) -> None:
    """Print `value` as JSON, or call `show` to print it for people."""
    if output is Output.JSON:
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))
    else:
        show()


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = ""
) -> None:
    """Print rows under `columns`; numbers to the right, at most 80 columns wide in a pipe."""
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    lines = [[_cell(value) for value in row] for row in rows]
    for index, name in enumerate(columns):
        numeric = bool(lines) and all(line[index][:1] in "0123456789-.+" for line in lines)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for line in lines:
        table.add_row(*line)
    console().print(table)


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line."""
    known = [(name, _cell(value)) for name, value in pairs]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        typer.echo(f"{name:<{width}}  {value}")


def console() -> Any:
    """Standard output as rich sees it: 80 columns unless the terminal says otherwise."""
    import sys

    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 80, highlight=False, markup=False)


def megabytes(size: int) -> str:
    """Bytes as a person reads them, in units of 1,000,000."""
    return f"{size / 1e6:.2f} MB"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
