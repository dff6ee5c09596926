"""A gate's report for people: rows for a table, and a Markdown summary, verdict first.

It writes what the report holds and decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from validation.cost import cost_in, cost_words
from validation.evidence import Check, GateReport
from validation.report_advice import next_steps, reasons
from validation.report_numbers import interval, of_check
from validation.slices import WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COLUMNS = ("check", "slice", "value", "interval", "limit", "verdict")
ROWS_SHOWN = 40
"""Checks in a summary's table; beyond that, slices that passed are counted only."""


class ReportRow(NamedTuple):
    """One check, every cell as text."""

    metric: str
    slice: str
    value: str
    interval: str
    limit: str
    verdict: str


def rows(report: GateReport | Mapping[str, Any]) -> tuple[ReportRow, ...]:
    """Rows of a report, or of its `to_dict`, in the order of the checks."""
    whole = report if isinstance(report, GateReport) else GateReport.from_dict(report)
    return tuple(map(_row, whole.checks))


def markdown_summary(report: GateReport, *, model: str = "", variant: str = "") -> str:
    """Verdict, what to do, table, what did not pass and why, and the worst utterances.

    What to do is said where model and variant are given.
    """
    subject = f": {model} {variant}" if model else ""
    steps = next_steps(report, model=model, variant=variant) if model else ()
    sections = [
        f"# Gate{subject}: {report.verdict.label}",
        "\n".join(f"- {step}" for step in steps),
        _checks(report.checks),
        _bullets(f"{verdict}: {why}" for verdict, why in reasons(report.checks)),
        _worst(report),
        _cost(report),
        _origin(report),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _row(check: Check) -> ReportRow:
    return ReportRow(
        check.name,
        check.slice,
        of_check(check, check.value),
        interval(check),
        of_check(check, check.limit),
        check.verdict.label,
    )


def _checks(checks: Sequence[Check]) -> str:
    if len(checks) <= ROWS_SHOWN:
        return _table(COLUMNS, map(_row, checks))
    shown = [check for check in checks if check.verdict or check.slice == WHOLE]
    table = _table(COLUMNS, map(_row, shown))
    return f"{table}\n\nNot in the table: {len(checks) - len(shown)} checks of slices that passed."


def _worst(report: GateReport) -> str:
    if not report.worst_utterances:
        return ""
    table = _table(
        ("utterance", "reference", "answer", "S/D/I"),
        (
            (
                row.id,
                row.reference,
                row.error or row.hypothesis,
                f"{row.substitutions}/{row.deletions}/{row.insertions}",
            )
            for row in report.worst_utterances
        ),
    )
    return f"## Most errors\n\n{table}"


def _cost(report: GateReport) -> str:
    cost = cost_in(report)
    return "" if cost is None else f"## Cost\n\n{_bullets(cost_words(cost))}"


def _origin(report: GateReport) -> str:
    origin = report.provenance
    if not origin:
        return ""
    lines = [
        f"set `{origin['dataset_sha256'][:12]}`",
        f"normaliser {origin['normaliser']}, seed {origin['seed']}",
        f"confidence {origin['confidence']:.1%}",
        *(f"{name} `{digest[:12]}`" for name, digest in sorted(origin["digests"].items())),
    ]
    return _bullets(lines)


def _table(columns: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    names = tuple(columns)
    lines = [names, ("---",) * len(names), *body]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_cell(line)}" for line in lines)
