"""A gate's report for people: rows for a table, and a Markdown summary, verdict first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from validation.evidence import Check, GateReport
from validation.questions import OVER
from validation.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COLUMNS = ("check", "slice", "value", "interval", "limit", "verdict")
_UNKNOWN = "-"


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


def markdown_summary(report: GateReport) -> str:
    """Verdict, table, what did not pass and why, and the worst utterances."""
    sections = [
        f"# Gate: {report.verdict.label}",
        _table(COLUMNS, rows(report)),
        _bullets(check.reason for check in report.checks if check.verdict is not Verdict.PASS),
        _worst(report),
        _origin(report),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _row(check: Check) -> ReportRow:
    signed = OVER in check.name
    known = check.low is not None and check.high is not None
    interval = f"{_percent(check.low, signed)} to {_percent(check.high, signed)}"
    return ReportRow(
        check.name,
        check.slice,
        _percent(check.value, signed),
        interval if known else _UNKNOWN,
        _percent(check.limit, signed),
        check.verdict.label,
    )


def _percent(value: float | None, signed: bool) -> str:
    if value is None:
        return _UNKNOWN
    return f"{value:+.2%}" if signed else f"{value:.2%}"


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
