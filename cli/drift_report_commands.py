"""`sluice drift report` and `sluice drift sample`: what people take from a drift check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.durations import seconds
from cli.output import Output, OutputOption, emit, print_pairs
from cli.session import ModelArgument
from cli.wave_commands import RegionOption, acting_platform

if TYPE_CHECKING:
    from pipelines.drift_report import Told

SinceOption = Annotated[
    str,
    typer.Option("--since", metavar="TIME", help="How far back: 2h. Default: the last check."),
]


def add_to(drift: typer.Typer) -> None:
    """Add this module's commands to the group of drift's."""
    for command in (report, sample):
        drift.command()(command)


def report(
    model: ModelArgument,
    since: SinceOption = "",
    *,
    evidently: Annotated[
        bool, typer.Option(help="Also Evidently's own page; takes seconds.")
    ] = True,
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Build the page of the last checked window, or of a stretch of time, and say where it is.

    The verdict and what to do come first, then what they rest on. Nothing is kept in the journal
    and no traffic moves; the page is kept in MLflow with the live release's run.

    Example: sluice drift report whisper-grid --since 6h --no-evidently
    """
    import time

    from cli.progress import progress
    from pipelines.drift_report import make_report

    platform, since_s = acting_platform(model, region), seconds(since) if since else None
    with progress():
        told = make_report(platform, model, now=time.time(), since_s=since_s, evidently=evidently)
    emit(output, told.to_json(), lambda: _show(told))


def sample(  # noqa: PLR0913, PLR0917 - each is an option of the command
    model: ModelArgument,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where; a new folder.")],
    since: SinceOption = "",
    size: Annotated[int, typer.Option("--size", help="How many requests.")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="The same one draws the same.")] = 1,
    labelled: Annotated[
        Path | None,
        typer.Option("--labelled", metavar="FILE", help="Make a set of this labelled sample."),
    ] = None,
    region: RegionOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Export requests to label: the worst by their signals, and a fair draw of the rest.

    FOLDER gets a sheet with why each was chosen, how many requests it stands for, and columns to
    fill in. With --labelled, FOLDER becomes the evaluation set for `sluice data add`.

    Example: sluice drift sample whisper-grid --to build/label --size 100
    """
    import time

    from cli.progress import progress

    platform, since_s = acting_platform(model, region), seconds(since) if since else None
    with progress():
        if labelled is not None:
            from pipelines.labelled_set import make_set

            value = make_set(platform, model, labelled, to)
        else:
            from pipelines.drift_sample import write_sample

            value = write_sample(
                platform, model, to, size=size, seed=seed, now=time.time(), since_s=since_s
            )
    emit(
        output, value, lambda: print_pairs((name, _shown(name, one)) for name, one in value.items())
    )


def _shown(name: str, value: object) -> object:
    from pipelines.drift_sample import moment

    if isinstance(value, float) and name in {"since", "until"}:
        return f"{moment(value)} UTC"
    return ", ".join(value) if isinstance(value, list) else value


def _show(told: Told) -> None:
    value = told.to_json()
    rows: list[tuple[str, object]] = [
        ("model", value["model"]),
        ("verdict", value["headline"]),
        *(("to do", step.replace("`", "")) for step in value["next"]),
        ("requests", value["requests"]),
        ("alarms", f"{value['alarms']} {value['alarms_told']}"),
    ]
    if value["e_value"] is not None:
        evidence = f"e-value {value['e_value']:.4g} of {value['acts_at']:.4g}"
        rows.append(("evidence", f"{evidence}, {value['pairs']} pairs"))
    rows += [("moved", f"{one['column']}: {one['change']}") for one in value["moved"]]
    rows.append(("page", value["page"]))
    if value["evidently"]:
        rows.append(("evidently", value["evidently"]))
    rows.append(("in MLflow", value["kept"]))
    print_pairs(rows)
