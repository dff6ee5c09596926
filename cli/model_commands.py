"""Commands that make and judge: register, convert, evaluate, tune, publish; gate is apart."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.gate_command import gate
from cli.output import Output, OutputOption, emit, megabytes, print_pairs, print_table
from cli.session import ArtifactOption, ModelArgument, find_workspace, run_flow

if TYPE_CHECKING:
    from collections.abc import Mapping


class Objective(StrEnum):
    """What a search makes small."""

    SIZE = "size"
    LATENCY = "latency"


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (register, convert, gate, evaluate, tune, publish):
        app.command()(command)


def register(
    model: ModelArgument,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The model's files, or an archive of them.")
    ],
    signature: Annotated[
        Path | None, typer.Option("--signature", help="Its signature; default: FOLDER.sig.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Judge what may come in, hash and store it, and make it a version in MLflow.

    Takes a folder, or a .zip, .tar, .tar.gz or .tar.zst. The same bytes again are the same version.
    `sluice inspect` says beforehand what would be refused.

    Example: sluice register whisper-grid examples/grid/models/whisper-grid
    """
    from registry.intake.archives import require_source

    workspace = find_workspace()
    # A wrong word is told at once, not once Prefect has begun.
    workspace.require_model(model)
    require_source(folder)
    result = run_flow(
        workspace,
        "register",
        model=model,
        source=str(folder.resolve()),
        signature=str(signature.resolve()) if signature else "",
    )

    def show() -> None:
        state = "registered" if result["created"] else "registered before: the same bytes"
        print_pairs(
            [
                ("model", model),
                ("state", state),
                ("digest", result["digest"]),
                ("version", f"{result['version']} in MLflow"),
                ("size", f"{megabytes(result['bytes'])} in {result['files']} files"),
                ("signed by", result.get("signature", {}).get("signer", "nobody")),
            ]
        )

    emit(output, result, show)


def convert(  # noqa: PLR0913, PLR0917 - each is an option of the command
    model: ModelArgument,
    variants: Annotated[
        list[str] | None,
        typer.Option("--variant", "-v", help="Which to make; default: all of the policy."),
    ] = None,
    search: Annotated[
        bool,
        typer.Option("--search", help="Try recipes until [gate.margins] parent holds; keep one."),
    ] = False,
    objective: Annotated[
        Objective, typer.Option("--objective", help="What a search makes small.")
    ] = Objective.SIZE,
    budget_s: Annotated[
        float, typer.Option("--budget-s", min=1, help="Seconds that a search may take.")
    ] = 600.0,
    most: Annotated[
        int | None, typer.Option("--most", min=1, help="Recipes that a search may try.")
    ] = None,
    artifact: ArtifactOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Convert the newest artifact to variants; what is made already is not made again.

    With --search, recipes are tried from cheap to careful and judged by the calibration set.

    Example: sluice convert whisper-grid -v onnx-fp32 -v openvino-int8
    """
    if search:
        limits = {"budget_s": budget_s, "most": most}
        _search(model, artifact, objective.value, limits, output)
        return
    result = run_flow(
        find_workspace(), "convert", model=model, variants=variants, artifact=artifact
    )
    columns = ["variant", "digest", "size", "agrees", "p50 ms", "peak MB", "seconds", "state"]
    rows = [_converted_row(row, result["made"]) for row in result["variants"]]
    emit(output, result, lambda: print_table(columns, rows))


def _converted_row(row: Mapping[str, Any], made: list[str]) -> list[Any]:
    footprint = row.get("footprint") or {}
    peak = footprint.get("peak_memory_bytes_batch_1")
    return [
        row["variant"],
        row["digest"][:8],
        megabytes(row["bytes"]),
        f"{row['parity'].get('agreement', float('nan')):.1%}",
        f"{footprint['p50_ms_batch_1']:.1f}" if footprint else "-",
        f"{peak / 1e6:.0f}" if peak else "-",
        row["seconds"],
        "made" if row["variant"] in made else "there",
    ]


def _search(
    model: str, artifact: str, objective: str, limits: Mapping[str, Any], output: Output
) -> None:
    result = run_flow(
        find_workspace(),
        "search",
        model=model,
        objective=objective,
        artifact=artifact,
        **limits,
    )

    def show() -> None:
        print_table(result["columns"], result["rows"])
        typer.echo(f"chosen: {result['chosen']}: {result['why']}")
        typer.echo(f"evidence: {result['evidence']}")

    emit(output, result, show)


def evaluate(
    model: ModelArgument,
    variant: Annotated[str, typer.Option("--variant", "-v", help="The variant to score.")],
    dataset: Annotated[Path, typer.Option("--dataset", help="Folder of a dataset.")],
    artifact: ArtifactOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Score a variant on any dataset through Triton, without a verdict.

    Example: sluice evaluate whisper-grid -v openvino-int8 --dataset data/live
    """
    result = run_flow(
        find_workspace(),
        "evaluate",
        model=model,
        variant=variant,
        dataset=str(dataset.resolve()),
        artifact=artifact,
    )
    hidden = {"answers", "stages", "metrics", "metric"}
    shown = {name: value for name, value in result.items() if name not in hidden}
    emit(output, result, lambda: print_pairs({**shown, **result["metrics"]}.items()))


def tune(
    model: ModelArgument,
    variant: Annotated[str, typer.Option("--variant", "-v", help="The variant to serve.")],
    in_flight: Annotated[
        int, typer.Option("--in-flight", min=1, max=1024, help="Requests open at a time.")
    ] = 32,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.2, max=600, help="Load on each setting.")
    ] = 3.0,
    write: Annotated[
        bool, typer.Option("--write/--dry-run", help="Put the choice into the model's file.")
    ] = True,
    artifact: ArtifactOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Measure batch sizes, queue delays and instances here, and keep the best in [serve].

    The best is the highest throughput whose 95th percentile keeps [rollout] slow_ms.

    Example: sluice tune whisper-grid -v onnx-int8 --in-flight 16
    """
    result = run_flow(
        find_workspace(),
        "tune",
        model=model,
        variant=variant,
        artifact=artifact,
        in_flight=in_flight,
        seconds=seconds,
        write=write,
    )

    def show() -> None:
        columns = ["batch", "delay us", "instances", "threads", "answers/s", "p50 ms", "p95 ms", ""]
        print_table(columns, [_tuned_row(row, result["chosen"]) for row in result["measured"]])
        place = f"[serve] of models/{model}.toml" if result["written"] else "nowhere (--dry-run)"
        typer.echo(f"written to {place}; {in_flight} in flight, limit {result['slow_ms']:g} ms")

    emit(output, result, show)


def _tuned_row(row: Mapping[str, Any], chosen: Mapping[str, Any]) -> list[str]:
    names = ("max_batch_size", "queue_delay_us", "instances", "threads")
    note = "chosen" if row == chosen else row["detail"][:24] or "failed" * bool(row["failed"])
    measured = (row[name] for name in ("throughput_rps", "p50_ms", "p95_ms"))
    numbers = ("-" if value is None else f"{value:.1f}" for value in measured)
    return [*(str(row[name]) for name in names), *numbers, note]


def publish(
    model: ModelArgument,
    variant: Annotated[
        str, typer.Option("--variant", "-v", help="Default: the smallest that passed.")
    ] = "",
    artifact: ArtifactOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Give a variant that passed its gate a release number; it gets no traffic yet.

    Example: sluice publish whisper-grid -v openvino-fp16
    """
    result = run_flow(find_workspace(), "publish", model=model, variant=variant, artifact=artifact)

    def show() -> None:
        print_pairs(
            [
                ("release", result["release"]),
                ("variant", f"{result['variant']} {result['variant_digest'][:12]}"),
                ("manifest", result["manifest_digest"]),
                ("size", megabytes(result["bytes"])),
                ("state", "published" if result["created"] else "published before"),
            ]
        )

    emit(output, result, show)
