"""`sluice gate`: judge variants, print the verdict, leave files for CI, end with its exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import Output, OutputOption, emit, print_pairs, print_table
from cli.progress import progress
from cli.session import ArtifactOption, ModelArgument, find_workspace, open_platform, run_flow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from validation.verdict import Verdict


def gate(
    model: ModelArgument,
    variants: Annotated[
        list[str] | None,
        typer.Option(
            "--variant", "-v", help="Which to judge; default: all of the policy that are converted."
        ),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write JUnit XML to this file.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown", help="Write a summary; GitHub's $GITHUB_STEP_SUMMARY is added to."
        ),
    ] = None,
    pages: Annotated[
        Path | None, typer.Option("--pages", help="Folder that gets VARIANT.html for each.")
    ] = None,
    artifact: ArtifactOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Judge variants by the policy: exit 0 pass, 1 fail, 2 error, 3 inconclusive.

    Of several, the worst verdict counts. Files are written whatever it is.
    JSON: the gate's when one variant is named, else a list under "gates".

    Example: sluice gate whisper-grid -v openvino-int8 --junit junit.xml
    """
    from cli.gate_files import GateFiles

    files = GateFiles(junit, markdown, pages)
    files.refuse_unwritable()
    chosen, artifact = _variants_to_judge(model, variants or [], artifact)
    results = [_judged(model, variant, artifact) for variant in chosen]
    files.write(results)
    verdict = _worst(results)
    value: dict[str, Any] = {"model": model, "verdict": verdict.label, "gates": results}
    value = {**results[0], "verdict": verdict.label} if len(variants or []) == 1 else value
    emit(output, value, lambda: _show(results))
    raise typer.Exit(verdict.exit_code)


def _variants_to_judge(model: str, named: list[str], artifact: str) -> tuple[list[str], str]:
    """Variants to judge, and of which artifact; says which of the policy are not converted."""
    if len(named) == 1:
        return named, artifact
    from pipelines.prefect_settings import point_prefect

    # What follows imports Prefect, which reads its settings once.
    with progress():
        point_prefect(find_workspace())
    from pipelines.gate_variants import variants_to_judge

    found = variants_to_judge(open_platform(), model, artifact, named)
    for name in found.missing:
        typer.echo(f"not converted, so not judged: {name}", err=True)
    return list(found.converted), found.artifact


def _judged(model: str, variant: str, artifact: str) -> dict[str, Any]:
    """The flow's result; an engine that breaks is a report with an error, so that CI has one."""
    from registry.errors import EngineError
    from validation.evidence import Check, GateReport
    from validation.verdict import Verdict

    try:
        result = run_flow(find_workspace(), "gate", model=model, variant=variant, artifact=artifact)
    except EngineError as error:
        typer.echo(f"error: {error}", err=True)
        check = Check("gate", "all", Verdict.ERROR, str(error))
        report = GateReport(Verdict.ERROR, (check,), {})
        return {"model": model, "variant": variant, "report": report.to_dict(), "evidence": ""}
    return result


def _worst(results: Sequence[Mapping[str, Any]]) -> Verdict:
    from validation.verdict import Verdict, worst

    return worst(Verdict.from_label(result["report"]["verdict"]) for result in results)


def _show(results: Sequence[Mapping[str, Any]]) -> None:
    for result in results:
        _show_report(result)
    if len(results) > 1:
        print_pairs((result["variant"], result["report"]["verdict"]) for result in results)


def _show_report(result: Mapping[str, Any]) -> None:
    from validation.cost import cost_in, cost_words
    from validation.evidence import GateReport
    from validation.report import COLUMNS, rows
    from validation.report_advice import reasons

    report = GateReport.from_dict(result["report"])
    typer.echo(f"{result['model']} {result['variant']}: {report.verdict.label.upper()}")
    print_table(COLUMNS, rows(report))
    for verdict, why in reasons(report.checks):
        typer.echo(f"- {verdict}: {why}")
    if (cost := cost_in(report)) is not None:
        for line in cost_words(cost):
            typer.echo(f"cost: {line}")
    if result["evidence"]:
        typer.echo(f"evidence: {result['evidence']}")
