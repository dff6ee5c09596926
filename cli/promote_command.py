"""`sluice promote`: publish and roll out, or only tell what would be done."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import Output, OutputOption, emit, print_pairs, print_table
from cli.rollout_output import OUTCOME_EXIT_CODES, show_result
from cli.session import (
    ArtifactOption,
    ModelArgument,
    ReasonOption,
    find_workspace,
    open_platform,
    run_flow,
)
from cli.wave_commands import EXIT_CODES, platform_under_way, show_waves
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping


def promote(  # noqa: PLR0913 - each is an option of the command
    model: ModelArgument,
    *,
    variant: Annotated[
        str, typer.Option("--variant", "-v", help="Default: the smallest that passed its gate.")
    ] = "",
    artifact: ArtifactOption = "",
    release: Annotated[int, typer.Option("--release", help="A published release instead.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell every effect, in order.")
    ] = False,
    wait: Annotated[
        float,
        typer.Option(
            "--wait", metavar="MINUTES", help="Wait so long for the rollout under way.", min=0
        ),
    ] = 0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Roll the rollout under way back first.")
    ] = False,
    reason: ReasonOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Publish a gated variant and move traffic to it step by step.

    Where access.toml asks for approvals: `sluice publish`, let others `sluice approve`, promote.

    Exit 0: it serves all traffic. 1: rolled back or rejected. 3: paused, a person is needed.

    Example: sluice promote whisper-grid -v openvino-int8
    """
    if wait and replace:
        raise UserError("--wait lets the rollout under way end, --replace ends it; take one")
    arguments = {"variant": variant, "artifact": artifact, "release": release}
    if dry_run:
        _rehearse(model, arguments, output)
        return
    began = time.time()
    try:
        result = run_flow(
            find_workspace(),
            "promote",
            model=model,
            **arguments,
            wait_s=wait * 60,
            replace=replace,
            reason=reason,
        )
    except KeyboardInterrupt:
        _pause_unwatched(model, began)
        raise
    emit(output, result, lambda: _show_rollout(result))
    raise typer.Exit((OUTCOME_EXIT_CODES | EXIT_CODES)[result["rollout"]["outcome"]])


def _rehearse(model: str, arguments: dict[str, Any], output: Output) -> None:
    from pipelines.rehearsal import rehearse_promotion

    platform = open_platform()
    platform.workspace.require_model(model)
    rehearsal = rehearse_promotion(platform, model, **arguments)
    emit(output, rehearsal, lambda: _show_rehearsal(rehearsal))


def _show_rehearsal(rehearsal: Mapping[str, Any]) -> None:
    first = "; it would be published first" if rehearsal["publishes"] else ""
    live = rehearsal["baseline"]
    print_pairs(
        [
            ("model", rehearsal["model"]),
            ("release", f"{rehearsal['release']} ({rehearsal['variant']}){first}"),
            ("live now", "none" if live is None else f"release {live}"),
            ("at least", f"{rehearsal['least_s']:g} s, loading not counted"),
        ]
    )
    typer.echo()
    print_table(
        ["#", "after", "phase", "what"],
        [
            [number, f"{planned['after_s']:g} s", planned["phase"], _what(planned)]
            for number, planned in enumerate(rehearsal["planned"], start=1)
        ],
    )
    if waves := rehearsal.get("waves"):
        bound = rehearsal["false_rollback_at_most"]
        typer.echo(f"\nSo in each region, one after the other: {', '.join(waves)}.")
        typer.echo(f"An equally good release is turned back in any: at most {bound:.2%}.")
    typer.echo("\nNothing was changed. So it goes where everything goes well.")


def _what(planned: Mapping[str, Any]) -> str:
    return f"watch {planned['what']}" if planned["kind"] == "watch" else str(planned["what"])


def _show_rollout(result: Mapping[str, Any]) -> None:
    release = result["release"]
    print_pairs([("release", f"{release['release']} ({release['variant']})")])
    show = show_waves if "waves" in result["rollout"] else show_result
    show(result["rollout"])
    print_table(["stage", "seconds"], result["stages"].items())


def _pause_unwatched(model: str, began: float) -> None:
    """Nobody watches the rollout any more: the candidate gets no traffic until somebody does."""
    from registry.errors import ConflictError

    try:
        platform = platform_under_way(open_platform(), model)
    except UserError:
        platform = open_platform()
    rollout = platform.serving(model).rollout
    if rollout is None or rollout.started_at < began:
        # One that was only waited for is another command's.
        sys.stderr.write(f"\n{model}: no traffic was moved\n")
        return
    sys.stderr.write("\nstopping: pausing the rollout\n")
    try:
        result = platform.controller().request_pause(model, "stopped by Ctrl-C").to_dict()
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
