"""The order of verdicts, their exit codes, and what no data means."""

from __future__ import annotations

from validation.verdict import Verdict, worst


def test_verdicts_are_ordered_from_good_to_bad() -> None:
    assert Verdict.PASS < Verdict.INCONCLUSIVE < Verdict.ERROR < Verdict.FAIL


def test_exit_codes_are_those_of_the_command_line() -> None:
    codes = {verdict.label: verdict.exit_code for verdict in Verdict}
    assert codes == {"pass": 0, "inconclusive": 3, "error": 2, "fail": 1}


def test_the_worst_wins_and_no_data_is_an_error() -> None:
    assert worst([Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.PASS]) is Verdict.INCONCLUSIVE
    assert worst([Verdict.ERROR, Verdict.FAIL]) is Verdict.FAIL
    assert worst([Verdict.PASS]) is Verdict.PASS
    assert worst([]) is Verdict.ERROR


def test_labels_round_trip() -> None:
    assert [Verdict.from_label(verdict.label) for verdict in Verdict] == list(Verdict)
