"""A/B experiments: `sluice experiment start`, `show` and `stop`. None of them promotes anything."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from cli.durations import seconds
from cli.output import Output, OutputOption, emit, print_pairs, print_table
from cli.rollout_output import OUTCOME_EXIT_CODES, show_result, telling
from cli.session import ModelArgument, ReasonOption, open_platform

if TYPE_CHECKING:
    from canary.experiment import Experiment

experiment = typer.Typer(
    no_args_is_help=True, help="Compare a release with the live one for a while, by session."
)

ReleaseArgument = Annotated[int, typer.Argument(metavar="RELEASE", help="A published release.")]
WeightOption = Annotated[int, typer.Option("--weight", help="Percent of the sessions, 1 to 99.")]
ForOption = Annotated[
    str, typer.Option("--for", metavar="TIME", help="How long: 90s, 30m, 12h, 7d or 2w.")
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        help="errors, slow, empty or fallbacks; may be repeated. Default: errors and slow.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (start, show, stop):
        experiment.command()(command)
    app.add_typer(experiment, name="experiment")


def start(
    model: ModelArgument,
    release: ReleaseArgument,
    *,
    weight: WeightOption = 50,
    lasts: ForOption = "7d",
    metric: MetricOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Split the traffic between the live release and another, and report how they differ.

    Goes on until the time is over or somebody stops it; then everything goes back to the live
    release. Harm turns the other release back at once. Ctrl-C pauses; `sluice resume` goes on.

    Exit 0: it ended as planned or was stopped. 1: harm turned it back. 3: a person is needed.

    Example: sluice experiment start whisper-grid 3 --weight 50 --for 7d
    """
    from cli.progress import progress
    from pipelines.experiment import find_experiment, start_experiment

    platform = open_platform()
    platform.workspace.require_model(model)
    lasts_s = seconds(lasts)
    try:
        with telling(platform, model), progress():
            result = start_experiment(
                platform, model, release, weight=weight, lasts_s=lasts_s, metrics=metric or []
            )
    except KeyboardInterrupt:
        sys.stderr.write("\nstopping: pausing the experiment\n")
        platform.controller().request_pause(model, "stopped by Ctrl-C")
        raise
    found = find_experiment(platform, model)
    emit(output, {**result, "experiment": found.to_json()}, lambda: _show(found))
    raise typer.Exit(OUTCOME_EXIT_CODES[result["outcome"]])


def show(model: ModelArgument, output: OutputOption = Output.TABLE) -> None:
    """Tell what the experiment under way, or the last one, found so far. Asks no engine.

    Example: sluice experiment show whisper-grid --output json
    """
    from pipelines.experiment import find_experiment

    found = find_experiment(open_platform(), model)
    emit(output, found.to_json(), lambda: _show(found))


def stop(
    model: ModelArgument,
    reason: ReasonOption = "asked for by a person",
    output: OutputOption = Output.TABLE,
) -> None:
    """End the experiment under way: all traffic goes back to the live release.

    Exit 0: it ended, or the command that drives it ends it. 3: a person is needed.

    Example: sluice experiment stop whisper-grid --reason "seen enough"
    """
    from cli.progress import progress
    from pipelines.experiment import stop_experiment

    platform = open_platform()
    platform.workspace.require_model(model)
    with telling(platform, model):
        with progress():
            result = stop_experiment(platform, model, reason)
        emit(output, result, lambda: show_result(result))
    raise typer.Exit(OUTCOME_EXIT_CODES[result["outcome"]])


def _show(found: Experiment) -> None:
    rows: list[tuple[str, object]] = [
        ("model", found.model),
        ("compared", f"release {found.candidate} with {found.baseline}, at {found.weight} %"),
        ("state", found.state),
        *([("reason", found.reason)] if found.reason else []),
        ("ends" if found.ended_at is None else "ended", _moment(found)),
    ]
    print_pairs(rows)
    typer.echo()
    print_table(
        ["metric", f"release {found.candidate}", f"release {found.baseline}", "difference, points"],
        [
            [
                one.metric,
                _share(one.candidate),
                _share(one.baseline),
                f"{100 * one.interval.low:+.2f} to {100 * one.interval.high:+.2f}",
            ]
            for one in found.compared
        ],
    )
    told = "; ".join(one.sentence for one in found.compared)
    typer.echo(f"\n{textwrap.fill(f'{told}; {found.confidence}.', 80)}")


def _share(counts: tuple[int, int]) -> str:
    events, units = counts
    return f"{events} of {units}" + (f" ({events / units:.2%})" if units else "")


def _moment(found: Experiment) -> str:
    from datetime import UTC, datetime

    at = found.ends_at if found.ended_at is None else found.ended_at
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
