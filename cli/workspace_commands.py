"""Commands for the workspace and its engines: init, doctor, up, down, status."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.output import Output, OutputOption, emit, print_pairs, print_table
from cli.session import find_workspace


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (init, kinds, doctor, up, down, status):
        app.command()(command)


def init(
    folder: Annotated[Path, typer.Argument(help="Where; made if missing.")] = Path(),
    model: Annotated[str, typer.Option("--model", help="Also write models/MODEL.toml.")] = "",
    dataset: Annotated[
        Path | None, typer.Option("--dataset", help="The model's evaluation set.")
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", help="The model's kind; `sluice kinds` lists them.")
    ] = "whisper",
    calibration: Annotated[
        Path | None, typer.Option("--calibration", help="A set for quantisers to look at.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write sluice.toml, and a policy for one model with its evaluation set pinned by hash.

    Example: sluice init . --model ctc-grid --kind ctc-speech --dataset data/evaluation
    """
    from pipelines.scaffold import scaffold

    written = scaffold(folder, model, dataset, kind=kind, calibration=calibration)
    emit(
        output,
        {"written": [str(path) for path in written]},
        lambda: print_pairs(("wrote", path) for path in written),
    )


def kinds(
    kind: Annotated[str, typer.Argument(help="One of them, with all its formats.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """List the kinds of model, or the formats of one with those that cannot work and why.

    Example: sluice kinds lip-reading
    """
    from pipelines.conversion.kinds import KINDS, kind_of

    chosen = [kind_of(kind)] if kind else list(KINDS.values())
    rows = [
        {
            "kind": one.name,
            "answers": one.dataset,
            "asked": one.interface.question.name,
            "answered": one.interface.answer.name,
            "variants": list(one.variants),
            "refused": dict(one.refused),
            "options": dict(one.options),
        }
        for one in chosen
    ]

    def show() -> None:
        if kind:
            for name in chosen[0].variants:
                typer.echo(f"{name:<20}yes")
            for name, reason in chosen[0].refused.items():
                typer.echo(f"{name:<20}no: {reason}")
            for name, default in chosen[0].options.items():
                typer.echo(f"[serve.options] {name} = {default or 'as the model asks'}")
            return
        print_table(
            ["kind", "sets it answers", "asked", "answered", "formats"],
            [
                [row["kind"], row["answers"], row["asked"], row["answered"], len(row["variants"])]
                for row in rows
            ],
        )

    emit(output, {"kinds": rows}, show)


def doctor(output: OutputOption = Output.TABLE) -> None:
    """Say what is missing, and the command that installs it. Exit 2 when something is.

    Example: sluice doctor
    """
    from infra.local.doctor import examine
    from registry.errors import UserError

    try:
        workspace = find_workspace()
    except UserError:
        # Before the first `sluice init` there is still a machine to examine.
        workspace = None
    checks = examine(workspace)
    value = [{"name": c.name, "ok": c.ok, "detail": c.detail, "remedy": c.remedy} for c in checks]

    def show() -> None:
        print_table(
            ["check", "ok", "detail"],
            [[c.name, c.ok, c.detail if c.ok else f"{c.detail}; {c.remedy}"] for c in checks],
        )

    emit(output, value, show)
    raise typer.Exit(0 if all(c.ok for c in checks) else 2)


def up(
    ui: Annotated[bool, typer.Option("--ui", help="Also MLflow's pages.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start the embedded engines: Envoy, Prefect's server, and the revisions in the route.

    Example: sluice up --ui
    """
    from cli.progress import progress
    from infra.local.region_stack import up_regions
    from infra.local.stack import up as start
    from pipelines.overview import addresses
    from pipelines.stages import announce

    workspace = find_workspace()
    with progress():
        state = start(workspace, ui=ui, progress=announce)
        doors = up_regions(workspace, announce)
    found = addresses(state) | {f"front door of {name}": door for name, door in doors.items()}
    emit(output, {"addresses": found}, lambda: print_pairs(found.items()))


def down(output: OutputOption = Output.TABLE) -> None:
    """Stop every engine of this workspace. Nothing is lost: `sluice up` brings it back.

    Example: sluice down
    """
    from cli.progress import progress
    from infra.local.region_stack import down_regions
    from infra.local.stack import down as stop

    with progress():
        down_regions(find_workspace())
        stop(find_workspace())
    emit(output, {"stopped": True}, lambda: typer.echo("everything is stopped"))


def status(
    model: Annotated[str, typer.Argument(metavar="[NAME]", help="One model only.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what serves, with which share, and what is under way.

    Example: sluice status --output json
    """
    from cli.wave_commands import show_regions
    from pipelines.overview import overview

    view = overview(find_workspace(), model)

    def show() -> None:
        print_pairs([*view["addresses"].items()] or [("engines", "down: run `sluice up`")])
        if view["models"] and not (view["regions"] and view["models"][0]["live"] is None):
            print_table(
                ["model", "live", "variant", "route", "rollout", "revisions"],
                [
                    [row[key] or "-" for key in row if key not in {"rollout_reason", "drift"}]
                    for row in view["models"]
                ],
            )
        show_regions(view["regions"])
        for row in view["serving"]:
            rate = row["cache_hit_rate"]
            cache = "" if rate is None else f", {rate:.1%} of batches from the response cache"
            devices = ", ".join(row["devices"]) or "CPU"
            held = f", {row['memory_bytes'] / 1e6:.0f} MB" if row["memory_bytes"] else ""
            typer.echo(f"revision {row['release']}: {row['state']}, on {devices}{held}{cache}")
        for row in view["models"]:
            if view["waves"]:
                typer.echo(f"{row['model']}: {view['waves']}")
            if row["rollout_reason"]:
                typer.echo(f"{row['model']}: {row['rollout_reason']}")
            if row["drift"]["case"]:
                typer.echo(f"{row['model']}: drift {row['drift']['case']}")
            if row["drift"]["page"]:
                typer.echo(f"{row['model']}: drift page {row['drift']['page']}")

    emit(output, view, show)
