"""Commands that make and judge: register, convert, gate, evaluate, publish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import Output, OutputOption, emit, megabytes, print_pairs, print_table
from cli.session import ArtifactOption, ModelArgument, find_workspace, run_flow

if TYPE_CHECKING:
    from collections.abc import Mapping


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (register, convert, gate, evaluate, publish):
        app.command()(command)


def register(
    model: ModelArgument,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The model's files.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Hash a folder, store it, and make it a version in MLflow.

    The same bytes again are the same version.

    Example: sluice register whisper-grid examples/grid/models/whisper-grid
    """
    result = run_flow(find_workspace(), "register", model=model, source=str(folder.resolve()))

    def show() -> None:
        state = "registered" if result["created"] else "registered before: the same bytes"
        print_pairs(
            [
                ("model", model),
                ("state", state),
                ("digest", result["digest"]),
                ("version", f"{result['version']} in MLflow"),
                ("size", f"{megabytes(result['bytes'])} in {result['files']} files"),
            ]
        )

    emit(output, result, show)


def convert(
    model: ModelArgument,
    variants: Annotated[
        list[str] | None,
        typer.Option("--variant", "-v", help="Which to make; default: all of the policy."),
    ] = None,
    artifact: ArtifactOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Convert the newest artifact to variants; what is made already is not made again.

    Example: sluice convert whisper-grid -v onnx-fp32 -v openvino-int8
    """
    result = run_flow(
        find_workspace(), "convert", model=model, variants=variants, artifact=artifact
    )

    def show() -> None:
        print_table(
            ["variant", "digest", "size", "seconds", "state"],
            [
                [
                    row["variant"],
                    row["digest"][:12],
                    megabytes(row["bytes"]),
                    row["seconds"],
                    "made" if row["variant"] in result["made"] else "there already",
                ]
                for row in result["variants"]
            ],
        )

    emit(output, result, show)


def gate(
    model: ModelArgument,
    variant: Annotated[str, typer.Option("--variant", "-v", help="The variant to judge.")],
    artifact: ArtifactOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Judge a variant by the policy: exit 0 pass, 1 fail, 2 error, 3 inconclusive.

    Example: sluice gate whisper-grid -v openvino-int8
    """
    from validation.verdict import Verdict

    result = run_flow(find_workspace(), "gate", model=model, variant=variant, artifact=artifact)
    emit(output, result, lambda: _show_report(result))
    raise typer.Exit(Verdict.from_label(result["report"]["verdict"]).exit_code)


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
    shown = {name: value for name, value in result.items() if name not in {"answers", "stages"}}
    emit(output, result, lambda: print_pairs(shown.items()))


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


def _show_report(result: Mapping[str, Any]) -> None:
    from validation.report import rows

    report = result["report"]
    typer.echo(f"{result['model']} {result['variant']}: {report['verdict'].upper()}")
    print_table(["check", "slice", "value", "interval", "limit", "verdict"], rows(report))
    reasons = [
        check["reason"]
        for check in report["checks"]
        if check["verdict"] != "pass" and check["reason"]
    ]
    for reason in dict.fromkeys(reasons):
        typer.echo(f"- {reason}")
    typer.echo(f"evidence: {result['evidence']}")
