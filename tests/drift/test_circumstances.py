"""What is wrong around a window has a name, and nothing is called quiet because of it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from drift.alarm import judge_window
from drift.checks import FindingKind
from drift.circumstances import Circumstances, in_circumstances
from drift.comparable import Comparable
from drift.policy import DriftPolicy
from drift.verdicts import Alarm, NotEnoughData, Quiet, Watch
from drift.windows import Basis, Reference

if TYPE_CHECKING:
    from drift.verdicts import Judgement

POLICY = DriftPolicy(permutations=119)
EMPTY = pa.table({"rms": pa.array([], pa.float64())})
HOURS = Reference(Basis.SAME_HOURS, ())
NOTHING = Reference(Basis.NONE, (), 1, 3)


def around(reference: Reference = HOURS, **found: Any) -> Circumstances:
    return Circumstances(reference, Comparable(EMPTY, EMPTY, (), 0), **found)


def many(value: float = 0.0) -> pa.Table:
    return pa.table({"rms": [value + number % 7 for number in range(3000)]})


@pytest.fixture(scope="module")
def quiet() -> Judgement:
    judged = judge_window(many(), many(), POLICY)
    assert isinstance(judged.outcome, Quiet)
    return judged


def test_nothing_odd_changes_nothing(quiet: Judgement) -> None:
    assert in_circumstances(quiet, around()) == quiet


@pytest.mark.parametrize(
    ("found", "kind", "says"),
    [
        ({"reference_fault": "the bytes are gone"}, FindingKind.NO_REFERENCE, "are gone"),
        ({"unknown": {9: 1200}}, FindingKind.UNKNOWN_RELEASE, "1,200 requests .* release 9"),
        ({"ahead": 7}, FindingKind.CLOCK_AHEAD, "7 records are of the future"),
    ],
)
def test_what_is_odd_is_a_finding_and_stands_in_the_reason(
    quiet: Judgement, found: dict[str, Any], kind: FindingKind, says: str
) -> None:
    judged = in_circumstances(quiet, around(**found))
    assert [finding.kind for finding in judged.findings] == [kind]
    assert isinstance(judged.outcome, Quiet)
    assert re.search(says, judged.outcome.reason)


def test_columns_that_not_all_record_are_named(quiet: Judgement) -> None:
    sides = Comparable(EMPTY, EMPTY, ("entropy", "fallback"), 0)
    judged = in_circumstances(quiet, Circumstances(HOURS, sides))
    (finding,) = judged.findings
    assert finding.kind is FindingKind.SCHEMA_CHANGE
    assert "entropy, fallback" in finding.detail
    assert judged.outcome == quiet.outcome


def test_an_alarm_stays_one(quiet: Judgement) -> None:
    alarm = replace(quiet, outcome=Alarm("rms drifted", ("rms",)))
    judged = in_circumstances(alarm, around(ahead=3))
    assert isinstance(judged.outcome, Alarm)
    assert judged.outcome.reason.startswith("rms drifted; 3 records")


@pytest.mark.parametrize("basis", list(Basis))
def test_a_constant_column_is_an_alarm_only_where_the_traffic_is_the_same(basis: Basis) -> None:
    constant = pa.table({"rms": [1.0] * 3000})
    judged = judge_window(many(), constant, POLICY)
    assert isinstance(judged.outcome, Alarm)
    found = in_circumstances(judged, around(Reference(basis, ())))
    expected = Alarm if basis is Basis.SAME_HOURS else Watch
    assert isinstance(found.outcome, expected)
    missing = pa.table({"rms": pa.array([None] * 3000, pa.float64())})
    found = in_circumstances(judge_window(many(), missing, POLICY), around(Reference(basis, ())))
    assert isinstance(found.outcome, Alarm)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"reference_fault": "its bytes were changed"}, "its bytes were changed"),
        ({"reference_lack": "gated before"}, "gated before"),
        ({}, "no release is in service"),
    ],
)
def test_without_any_reference_it_says_why_and_when_there_will_be_one(
    found: dict[str, Any], says: str
) -> None:
    judged = in_circumstances(judge_window(EMPTY, many(), POLICY), around(NOTHING, **found))
    assert isinstance(judged.outcome, NotEnoughData)
    assert "3 more days of the same hours" in judged.outcome.reason
    assert judged.outcome.reason.count(says) == 1


def test_an_empty_window_without_a_reference_says_both() -> None:
    judged = in_circumstances(judge_window(EMPTY, EMPTY, POLICY), around(NOTHING))
    assert judged.outcome.reason.startswith("the window is empty; there is nothing to compare")


def test_without_a_column_to_compare_nothing_is_quiet() -> None:
    names = pa.table({"session": [str(number) for number in range(3000)]})
    judged = judge_window(names, names, POLICY)
    assert isinstance(judged.outcome, Quiet)
    found = in_circumstances(judged, around()).outcome
    assert isinstance(found, NotEnoughData)
    assert "no column" in found.reason
