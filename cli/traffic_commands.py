"""Commands that move traffic and tell what happened: promote, rollback, pause, resume, history."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import Output, OutputOption, emit, print_pairs, print_table
from cli.session import (
    ArtifactOption,
    ModelArgument,
    ReasonOption,
    find_workspace,
    open_platform,
    run_flow,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


OUTCOME_EXIT_CODES = {
    "settled": 0,
    "idle": 0,
    "rolled-back": 1,
    "rejected": 1,
    "paused": 3,
    "halted": 3,
}


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (promote, rollback, pause, resume, history, drift):
        app.command()(command)


def promote(
    model: ModelArgument,
    variant: Annotated[
        str, typer.Option("--variant", "-v", help="Default: the smallest that passed its gate.")
    ] = "",
    artifact: ArtifactOption = "",
    release: Annotated[int, typer.Option("--release", help="A published release instead.")] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Publish a gated variant and move traffic to it step by step.

    Exit 0: it serves all traffic. 1: rolled back or rejected. 3: paused, a person is needed.

    Example: sluice promote whisper-grid -v openvino-int8
    """
    arguments = {"variant": variant, "artifact": artifact, "release": release}
    try:
        result = run_flow(find_workspace(), "promote", model=model, **arguments)
    except KeyboardInterrupt:
        _pause_unwatched(model)
        raise
    emit(output, result, lambda: _show_rollout(result))
    raise typer.Exit(OUTCOME_EXIT_CODES[result["rollout"]["outcome"]])


def rollback(
    model: ModelArgument,
    to: Annotated[int, typer.Option("--to", help="Release; default: the last healthy one.")] = 0,
    reason: ReasonOption = "asked for by a person",
    output: OutputOption = Output.TABLE,
) -> None:
    """Send all traffic back to the last healthy release, at any moment. The route goes first.

    Exit 0: it is back. 3: it could not, and a person is needed.

    Example: sluice rollback whisper-grid --reason "complaints about names"
    """
    from cli.progress import progress

    platform = open_platform()
    platform.workspace.require_model(model)
    if to:
        platform.catalog(model).require_release(model, to)
    with progress():
        result = platform.controller().rollback(model, to or None, reason).to_dict()
    emit(output, result, lambda: _show_result(result))
    raise typer.Exit(0 if result["outcome"] in {"rolled-back", "rejected"} else 3)


def pause(
    model: ModelArgument,
    reason: ReasonOption = "asked for by a person",
    output: OutputOption = Output.TABLE,
) -> None:
    """Pause a rollout: the candidate gets no traffic until `sluice resume`, but stays loaded.

    Example: sluice pause whisper-grid --reason "waiting for the evening traffic"
    """
    platform = open_platform()
    platform.workspace.require_model(model)
    result = platform.controller().request_pause(model, reason).to_dict()
    emit(output, result, lambda: _show_result(result))


def resume(
    model: ModelArgument,
    output: OutputOption = Output.TABLE,
) -> None:
    """Go on with a paused rollout, or finish what a killed command left.

    Example: sluice resume whisper-grid
    """
    from cli.progress import progress

    platform = open_platform()
    platform.workspace.require_model(model)
    with progress():
        orphaned = platform.lease_is_orphaned(model)
        result = platform.controller().resume(model, take_over=orphaned).to_dict()
    emit(output, result, lambda: _show_result(result))
    raise typer.Exit(OUTCOME_EXIT_CODES[result["outcome"]])


def drift(
    model: ModelArgument,
    minutes: Annotated[
        float, typer.Option("--minutes", help="Length of the window.", min=0.1)
    ] = 60,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare the last window of the prediction log with what came before. Moves no traffic.

    Exit 0: quiet, or only worth watching. 1: alarm. 3: not enough data.

    Example: sluice drift whisper-grid --minutes 30
    """
    import time

    from cli.progress import progress
    from pipelines.drift_check import check_drift

    workspace = find_workspace()
    with progress():
        check = check_drift(workspace, model, window_s=minutes * 60, now=time.time())
    value = {
        "model": model,
        "verdict": check.verdict,
        "reason": check.reason,
        "page": str(check.page),
        "values": str(check.values),
    }
    emit(output, value, lambda: print_pairs(value.items()))
    raise typer.Exit({"alarm": 1, "not enough data": 3}.get(check.verdict, 0))


def history(
    model: ModelArgument,
    limit: Annotated[int, typer.Option("--limit", help="Newest entries to show.")] = 40,
    everything: Annotated[
        bool, typer.Option("--all", help="Also each effect and observation.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell the model's life from the journal, whose hash chain is checked first.

    Example: sluice history whisper-grid --limit 10
    """
    from pipelines.narration import matters

    platform = open_platform()
    platform.workspace.require_model(model)
    platform.journal.verify(model)
    entries = platform.journal.read(model)
    if not everything:
        entries = tuple(filter(matters, entries))
    entries = entries[-limit:]
    records = [
        {
            "sequence": entry.sequence,
            "at": entry.at,
            "actor": entry.actor,
            "kind": entry.kind,
            "body": dict(entry.body),
            "hash": entry.hash,
        }
        for entry in entries
    ]

    def show() -> None:
        from pipelines.narration import sentence

        print_table(
            ["#", "when", "what"],
            [[entry.sequence, _clock(entry.at), sentence(entry)] for entry in entries],
        )

    emit(output, records, show)


def _clock(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M:%S")


def _show_result(result: Mapping[str, Any]) -> None:
    route = ", ".join(f"release {release} {weight} %" for release, weight in result["route"])
    print_pairs(
        [
            ("model", result["model"]),
            ("outcome", result["outcome"]),
            ("reason", result["reason"]),
            ("traffic", route or "none"),
        ]
    )


def _show_rollout(result: Mapping[str, Any]) -> None:
    release = result["release"]
    print_pairs([("release", f"{release['release']} ({release['variant']})")])
    _show_result(result["rollout"])
    print_table(["stage", "seconds"], result["stages"].items())


def _pause_unwatched(model: str) -> None:
    """Nobody watches the rollout any more: the candidate gets no traffic until somebody does."""
    from registry.errors import ConflictError, UserError

    sys.stderr.write("\nstopping: pausing the rollout\n")
    try:
        result = open_platform().controller().request_pause(model, "stopped by Ctrl-C").to_dict()
    except UserError:
        sys.stderr.write(f"{model}: no traffic was moved\n")
    except ConflictError as error:
        sys.stderr.write(f"{error}\n")
    else:
        route = ", ".join(f"release {release} {weight} %" for release, weight in result["route"])
        sys.stderr.write(
            f"{model}: traffic is at {route or 'no release'}; `sluice resume {model}` goes on, "
            f"`sluice rollback {model}` gives the candidate up\n"
        )
