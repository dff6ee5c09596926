"""A past that was logged before anybody looked: learned at once, and the measure of the usual."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from drift.case import Case, Severity
from drift.comparison import Usual
from drift.policy import DriftPolicy
from drift.records import read_records
from pipelines.drift_cases import learn, state_of
from pipelines.drift_spans import span_of_last
from pipelines.drift_usual import usual_answers
from registry.errors import UserError

from .drift_world import DAY_S, HOUR_S, MODEL, Month, empty_month

if TYPE_CHECKING:
    from pathlib import Path

DAYS = 18


def logged(folder: Path) -> Month:
    month = empty_month(folder)
    for _ in range(DAYS):
        month.record()
    return month


def test_a_past_is_learned_at_once_and_once(tmp_path: Path) -> None:
    month = logged(tmp_path)
    tomorrow = month.now + DAY_S
    told = learn(month.platform, MODEL, days=30, now=tomorrow, window_s=HOUR_S)
    state = state_of(month.platform, MODEL)
    assert told == {"model": MODEL, "kept": DAYS, "passed": 30 - DAYS}
    assert (state.case, state.judged_until) == (None, month.now)
    again = learn(month.platform, MODEL, days=30, now=tomorrow, window_s=HOUR_S)
    assert again["kept"] == 0
    assert state_of(month.platform, MODEL).windows == state.windows
    month.record(louder=0.06)
    found = month.look()
    assert found.check.verdict == "alarm", found.check.reason
    assert found.state.case is not None


def test_a_window_by_count_reaches_back_as_far_as_so_many_requests_came(tmp_path: Path) -> None:
    month = empty_month(tmp_path)
    month.record()
    spans = [span_of_last(month.workspace, MODEL, count, month.now) for count in (1, 100, 400)]
    assert spans == sorted(spans)
    assert 0 < spans[0] < spans[1] < spans[2] < HOUR_S
    table = read_records(
        month.workspace.predictions, MODEL, since=month.now - spans[1], until=month.now
    ).table
    assert table.num_rows == 100
    with pytest.raises(UserError, match="only 400 requests came within a day"):
        span_of_last(month.workspace, MODEL, 401, month.now)
    with pytest.raises(UserError, match="a window of 0 requests"):
        span_of_last(month.workspace, MODEL, 0, month.now)


def case(month: Month, release: int = 1) -> Case:
    until = month.now
    return Case(1, release, Severity.ACT, ("rms",), "louder", 0.01, until - HOUR_S, until, until)


def test_usual_is_what_the_same_release_answered_at_the_same_hours_before(tmp_path: Path) -> None:
    month = logged(tmp_path)
    policy = DriftPolicy()
    usual = usual_answers(month.workspace, MODEL, case(month), policy)
    assert (usual.answers, usual.bad) == (policy.reference_days * 400, 0)
    assert usual.unsure_under is not None
    assert -0.6 < usual.unsure_under < -0.4, "normal with mean -0.3 and deviation 0.1"
    assert usual_answers(month.workspace, MODEL, case(month, release=2), policy) == Usual()
