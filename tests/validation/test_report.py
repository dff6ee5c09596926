"""Rows and Markdown that people read."""

from __future__ import annotations

import pytest

from validation.evidence import Check, GateReport
from validation.report import COLUMNS, ROWS_SHOWN, ReportRow, markdown_summary, rows
from validation.report_advice import reasons
from validation.report_numbers import percent, quantity
from validation.verdict import Verdict

from .reports import REPORT


def test_rows_are_text_in_the_order_of_checks() -> None:
    found = rows(REPORT)
    assert found[1:] == (
        ReportRow("failed", "all", "0.00%", "-", "0.00%", "pass"),
        ReportRow("wer", "all", "2.50%", "1.81% to 3.42%", "5.00%", "pass"),
        ReportRow(
            "wer_over_parent", "noise=noisy", "+0.20%", "-0.30% to +1.20%", "+1.00%", "inconclusive"
        ),
        ReportRow("chrf_over_production", "all", "-2.50", "-3.50 to -1.50", "-1.00", "fail"),
        ReportRow("wer_over_parent", "noise=rare", "-", "-", "+1.00%", "inconclusive"),
        ReportRow("cer", "all", "-", "-", "-", "error"),
        ReportRow("p99_ms", "all", "58.0 ms", "55.0 ms or more", "60.0 ms", "inconclusive"),
    )
    assert len(COLUMNS) == len(found[0])


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "share", "1.23%"),
        (-1e-9, "share", "0.00%"),
        (31.256, "points", "31.26"),
        (3.412, "dB", "3.41 dB"),
        (2.9, "score", "2.900"),
        (12.34, "ms", "12.3 ms"),
        (1.5, "s", "1.500 s"),
        (41_300_000, "bytes", "41.30 MB"),
        (132.04, "per second", "132.0/s"),
        (0.41, "ratio", "0.4100"),
        (0.123456, "", "0.1235"),
        (None, "ms", "-"),
    ],
)
def test_numbers_carry_their_unit(value: float | None, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_a_difference_has_a_sign() -> None:
    assert quantity(0.01, "share", signed=True) == "+1.00%"
    assert quantity(-1e-9, "points", signed=True) == "+0.00"


def test_a_chance_is_never_rounded_to_certainty() -> None:
    assert [percent(share) for share in (0, 0.004, 0.42, 0.996, 1)] == [
        "0%",
        "under 1%",
        "42%",
        "over 99%",
        "100%",
    ]


def test_rows_of_a_report_and_of_its_dictionary_are_equal() -> None:
    assert rows(REPORT.to_dict()) == rows(REPORT)


def test_summary_opens_with_the_verdict_and_gives_reasons() -> None:
    text = markdown_summary(REPORT)
    assert text.startswith("# Gate: fail\n")
    assert "| wer | all | 2.50% | 1.81% to 3.42% | 5.00% | pass |" in text
    assert "- error: cer [all]: not measured" in text
    assert ": fine" not in text
    assert "| u1 | bin blue | out of memory | 0/2/0 |" in text
    assert "variant `cdcdcdcdcdcd`" in text


def test_a_reason_that_many_share_is_told_once_and_the_worst_come_first() -> None:
    short = [
        Check("wer", part, Verdict.INCONCLUSIVE, f"wer [{part}]: too little data")
        for part in ("noise=car", "noise=street")
    ]
    failed = Check("cer", "all", Verdict.FAIL, "cer [all]: at least 5%")
    assert reasons([*short, failed, REPORT.checks[0]]) == (
        ("fail", "cer [all]: at least 5%"),
        ("inconclusive", "too little data: wer [noise=car], wer [noise=street]"),
    )


def test_summary_of_a_variant_says_what_to_do() -> None:
    text = markdown_summary(REPORT, model="speech", variant="onnx-int8")
    assert text.startswith("# Gate: speech onnx-int8: fail\n\n- Do not release this variant.\n")


def test_a_long_summary_keeps_what_did_not_pass_and_counts_the_rest() -> None:
    many = tuple(
        Check("wer", f"device={number}", Verdict.PASS, "fine", 0.01, 0.0, 0.02, 0.05)
        for number in range(ROWS_SHOWN)
    )
    text = markdown_summary(GateReport(REPORT.verdict, (*REPORT.checks, *many), {}))
    assert "device=" not in text
    assert f"Not in the table: {len(many)} checks of slices that passed." in text
    assert "noise=noisy" in text


def test_answers_cannot_break_the_table_or_inject_markup() -> None:
    text = markdown_summary(REPORT)
    assert "a\\|b &lt;i>" in text


def test_summary_of_a_bare_report() -> None:
    assert "no data" in markdown_summary(
        GateReport(Verdict.ERROR, (Check("answers", "all", Verdict.ERROR, "no data"),), {})
    )
