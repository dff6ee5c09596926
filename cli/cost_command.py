"""`sluice cost`: what answers cost, from measured throughput and the workspace's prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import Output, OutputOption, emit, print_table
from cli.session import ModelArgument, open_platform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def add_to(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command()(cost)


def cost(
    model: ModelArgument,
    price: Annotated[
        list[str] | None,
        typer.Option("--price", metavar="NAME=HOURLY", help="A device or pool; may be repeated."),
    ] = None,
    target_rps: Annotated[
        float, typer.Option("--target-rps", min=0, help="Answers a second that are needed.")
    ] = 0.0,
    release: Annotated[
        list[int] | None, typer.Option("--release", min=1, help="Default: the live one.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell what a request and an audio minute cost, and from when on another device is cheaper.

    Costs are of the throughput that the release's gate measured with full batches, on the device
    that [prices] measured_on names. Of others nothing was measured: the table says how many
    answers a second they need to be cheaper.

    Example: sluice cost speech --price gpu=2.5 --target-rps 400
    """
    from pipelines.cost import what_if

    platform = open_platform()
    platform.workspace.require_model(model)
    found = what_if(
        platform,
        model,
        prices=_prices(price or []),
        releases=tuple(release or ()),
        target_rps=target_rps,
    )
    emit(output, found, lambda: _show(found))


def _prices(named: list[str]) -> dict[str, float]:
    """By name. Raises UserError for what is no price."""
    import math
    import re

    from registry.errors import UserError

    found = {}
    for text in named:
        name, _, amount = text.partition("=")
        try:
            hourly = float(amount)
        except ValueError:
            hourly = math.nan
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name) or not 0 < hourly <= 1e6:
            raise UserError(f"{text!r} is not a price", remedy="use NAME=HOURLY: gpu=2.5")
        found[name] = hourly
    return found


def _show(found: Mapping[str, Any]) -> None:
    columns = ["release", "device", "an hour", "answers/s", "1,000 requests", "audio minute"]
    if found["target_rps"]:
        columns += ["machines", "a month"]
    rows = [row for one in found["releases"] for row in _rows(one)]
    print_table(columns, [row[: len(columns)] for row in rows])
    for line in _notes(found):
        typer.echo(line)


def _rows(one: Mapping[str, Any]) -> Iterator[list[str]]:
    from validation.cost import plain

    minute = one["audio_minute"]
    machines = one.get("machines", {})
    most = machines.get("at_worst")
    span = f" to {most}" if most and most != machines["value"] else ""
    yield [
        str(one["release"]),
        one["price"]["name"],
        f"{one['price']['hourly']:g}",
        f"{one['rps']['value']:.4g}",
        plain(one["per_1000_requests"]),
        plain(minute["value"]) if minute else "-",
        f"{machines.get('value', '')}{span}",
        f"{one.get('month', 0):.0f}",
    ]
    for other in one["elsewhere"]:
        yield [
            str(one["release"]),
            other["name"],
            f"{other['hourly']:g}",
            f"from {other['cheaper_from_rps']:.4g}",
            *("cheaper", "-", "-", "-"),
        ]


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    first = found["releases"][0]
    rps, hardware = first["rps"], first["hardware"]
    yield f"In {found['currency']}. Batches full and no hour idle: the least that it costs."
    on = f"{hardware.get('processor', 'an unknown processor')}, {hardware.get('cores', '?')} cores"
    yield f"Measured on {first['price']['name']}: {on}."
    if rps["low"] is not None and rps["high"] is not None:
        yield f"Release {first['release']}: {rps['low']:.4g} to {rps['high']:.4g} answers/s, 95 %."
    if first["elsewhere"]:
        yield "`from N`: not measured there; with so many answers a second it is cheaper."
