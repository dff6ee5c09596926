"""Rows and Markdown that people read."""

from __future__ import annotations

from validation.evidence import Check, GateReport, WorstUtterance
from validation.report import COLUMNS, ReportRow, markdown_summary, rows
from validation.verdict import Verdict

REPORT = GateReport(
    Verdict.INCONCLUSIVE,
    (
        Check("failed", "all", Verdict.PASS, "failed [all]: 0 of 448", value=0.0, limit=0.0),
        Check("wer", "all", Verdict.PASS, "fine", 0.025, 0.0181, 0.0342, 0.05, 0.0004),
        Check(
            "wer_over_parent",
            "noise=noisy",
            Verdict.INCONCLUSIVE,
            "a|b <i>",
            0.002,
            -0.003,
            0.012,
            0.01,
            0.2,
        ),
        Check("cer", "all", Verdict.ERROR, "not measured"),
    ),
    {"wer": 0.025},
    (WorstUtterance("u1", "bin blue", "", 0, 2, 0, 2, "out of memory"),),
    {
        "dataset_sha256": "ab" * 32,
        "normaliser": "basic",
        "seed": 1,
        "confidence": 0.95,
        "digests": {"variant": "cd" * 32},
    },
)


def test_rows_are_text_in_the_order_of_checks() -> None:
    found = rows(REPORT)
    assert found == (
        ReportRow("failed", "all", "0.00%", "-", "0.00%", "pass"),
        ReportRow("wer", "all", "2.50%", "1.81% to 3.42%", "5.00%", "pass"),
        ReportRow(
            "wer_over_parent", "noise=noisy", "+0.20%", "-0.30% to +1.20%", "+1.00%", "inconclusive"
        ),
        ReportRow("cer", "all", "-", "-", "-", "error"),
    )
    assert len(COLUMNS) == len(found[0])


def test_rows_of_a_report_and_of_its_dictionary_are_equal() -> None:
    assert rows(REPORT.to_dict()) == rows(REPORT)


def test_summary_opens_with_the_verdict_and_gives_reasons() -> None:
    text = markdown_summary(REPORT)
    assert text.startswith("# Gate: inconclusive\n")
    assert "| wer | all | 2.50% | 1.81% to 3.42% | 5.00% | pass |" in text
    assert "- not measured" in text
    assert "- fine" not in text
    assert "| u1 | bin blue | out of memory | 0/2/0 |" in text
    assert "variant `cdcdcdcdcdcd`" in text


def test_answers_cannot_break_the_table_or_inject_markup() -> None:
    text = markdown_summary(REPORT)
    assert "a\\|b &lt;i>" in text


def test_summary_of_a_bare_report() -> None:
    assert "no data" in markdown_summary(
        GateReport(Verdict.ERROR, (Check("answers", "all", Verdict.ERROR, "no data"),), {})
    )
