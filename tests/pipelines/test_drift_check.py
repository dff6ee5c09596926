"""What a window is compared with, and what a check says when something around it is wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from canary.states import EndedRollout, ModelServing, Outcome
from drift.case import Case, DriftState, Severity
from drift.history import History
from drift.window_estimate import WindowEstimate
from drift.windows import DAY_S, Basis, Window
from pipelines.drift_cases import look, state_of
from pipelines.drift_check import check_drift
from pipelines.drift_reference import healthy_days
from registry.errors import UserError

from .drift_world import BEGAN, HOUR_S, MODEL, Month, empty_month

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines.drift_check import DriftCheck


@pytest.fixture
def month(tmp_path: Path) -> Month:
    return empty_month(tmp_path)


@pytest.fixture
def gated(month: Month) -> Month:
    """Release 1 has a reference, and its first hour of traffic is there."""
    month.publish(1, month.gate_reference())
    month.record()
    return month


def checked(month: Month, state: DriftState | None = None) -> DriftCheck:
    found = state or DriftState(MODEL)
    return check_drift(month.platform, MODEL, window_s=HOUR_S, now=month.now, state=found)


def kinds(check: DriftCheck) -> list[str]:
    return [str(finding.kind) for finding in check.assessment.judgement.findings]


def test_a_release_is_compared_with_its_gate_then_its_first_days_then_the_same_hours(
    month: Month,
) -> None:
    month.publish(1, month.gate_reference())
    month.settle()
    bases = []
    for day in range(4):
        month.record()
        if day == 0:
            # Another release's canary: no part of the first release's own days.
            month.publish(2, None)
            month.record(release=2, rows=20, louder=0.5, is_new_day=False)
        found = month.look().check
        assert found.verdict != "alarm"
        assert not kinds(found)
        if found.basis is Basis.RELEASE:
            assert found.assessment.judgement.reference_rows == 400 * day
        bases.append(found.basis)
    assert bases == [Basis.GATE, Basis.RELEASE, Basis.RELEASE, Basis.SAME_HOURS]
    kept = state_of(month.platform, MODEL).windows
    assert [(one.basis, one.release) for one in kept] == [
        (Basis.GATE, 1),
        (Basis.RELEASE, 1),
        (Basis.RELEASE, 1),
        (Basis.SAME_HOURS, 0),
    ]
    for basis, windows in ((Basis.GATE, 1), (Basis.RELEASE, 2)):
        assert len(History.of(kept, basis=basis, release=1).days) == windows


def test_drift_from_the_gates_reference_is_seen_and_calls_nobody(gated: Month) -> None:
    gated.day += 1
    gated.record(louder=0.2, is_new_day=False)
    found = checked(gated)
    assert (found.basis, found.verdict) == (Basis.GATE, "watch")
    assert "rms is higher" in found.reason
    body = json.loads(found.report.to_json())
    assert body["assessment"]["basis"] == "gate"
    assert "latency_ms" in found.assessment.judgement.not_compared


@pytest.mark.parametrize(
    ("case", "withdrawn", "expected"),
    [
        (None, frozenset[int](), 3),
        ({"severity": Severity.WATCH}, frozenset[int](), 3),
        ({"severity": Severity.ACT}, frozenset[int](), 1),
        ({"severity": Severity.ACT, "attribution": "neither"}, frozenset[int](), 3),
        (None, frozenset({1}), 0),
    ],
    ids=["no case", "watch", "act", "nobody was worse", "rolled back"],
)
def test_a_releases_healthy_days(
    case: dict[str, Any] | None, withdrawn: frozenset[int], expected: int
) -> None:
    """Settled on day 0; the case is open from noon of day 1 on."""
    ended = EndedRollout(1, 1, None, None, Outcome.SETTLED, "", 0, None, None, 0)
    other = replace(ended, number=2, candidate=2, outcome=Outcome.ROLLED_BACK)
    serving = ModelServing(MODEL, live=1, history=(ended, other), withdrawn=withdrawn)
    state = DriftState(MODEL)
    if case:
        opened = 1.5 * DAY_S
        base = Case(1, 1, Severity.ACT, ("rms",), "", 0.01, opened, opened + 60, opened)
        state = replace(state, case=replace(base, **case))
    days = healthy_days(serving, state, 1, Window(9 * DAY_S, 9.1 * DAY_S), 3)
    assert len(days) == expected
    assert healthy_days(serving, state, 2, Window(9 * DAY_S, 9.1 * DAY_S), 3) == ()


def lost_reference(month: Month) -> None:
    shutil.rmtree(month.workspace.store / "manifests")


def damaged_reference(month: Month) -> None:
    for blob in (month.workspace.store / "blobs").glob("*/*"):
        blob.chmod(0o644)
        blob.write_bytes(blob.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lost_reference, "the store has no"),
        (damaged_reference, "were changed on disk"),
    ],
)
def test_a_reference_that_is_gone_is_a_fault_with_a_name(
    gated: Month, damage: Callable[[Month], None], says: str
) -> None:
    damage(gated)
    found = checked(gated)
    assert (found.verdict, found.basis) == ("not enough data", Basis.NONE)
    assert kinds(found) == ["no reference"]
    assert says in found.reason
    assert (found.estimate, found.quality) == (None, None)


def test_with_the_same_hours_a_lost_reference_is_told_and_the_window_judged(gated: Month) -> None:
    lost_reference(gated)
    for _ in range(3):
        gated.record()
    found = checked(gated)
    assert found.basis is Basis.SAME_HOURS
    assert found.verdict in {"quiet", "watch"}
    assert kinds(found) == ["no reference"]
    assert "the reference of release 1 cannot be read" in found.reason


def test_a_release_that_was_gated_before_there_were_references(month: Month) -> None:
    month.publish(1, None)
    month.record()
    found = checked(month)
    assert (found.verdict, kinds(found)) == ("not enough data", [])
    assert "gated before references were kept" in found.reason
    assert "3 more days of the same hours" in found.reason


def test_one_request_is_not_enough(month: Month) -> None:
    month.publish(1, month.gate_reference())
    month.record(rows=1)
    found = checked(month)
    assert (found.verdict, found.basis) == ("not enough data", Basis.GATE)
    assert found.estimate is None
    assert found.assessment.judgement.outcome.window_more > 0  # type: ignore[union-attr]


def test_an_empty_window_is_not_enough(month: Month) -> None:
    month.publish(1, month.gate_reference())
    month.settle()
    month.day += 1
    found = checked(month)
    assert found.verdict == "not enough data"
    assert kinds(found) == ["empty window"]


def test_traffic_of_releases_that_nobody_published_is_judged_for_none(gated: Month) -> None:
    gated.record(release=9)
    found = checked(gated)
    assert (found.verdict, found.release) == ("not enough data", 0)
    assert "unknown release" in kinds(found)
    assert "400 requests were answered by release 9" in found.reason
    gated.record(rows=300, is_new_day=False)
    partly = checked(gated)
    assert partly.assessment.judgement.window_rows == 300
    assert kinds(partly) == ["unknown release"]


def test_a_column_that_both_sides_record_in_part_is_not_missing(month: Month) -> None:
    """Two releases answer every day, one of which does not know the column; their shares move."""
    month.publish(1, None)
    month.publish(2, None)
    for old, new in ((100, 300), (100, 300), (100, 300), (390, 10)):
        month.record(rows=old, without=("average_log_probability",))
        month.record(release=2, rows=new, is_new_day=False)
    found = checked(month)
    assert found.verdict in {"quiet", "watch"}
    assert kinds(found) == ["schema change"]
    assert "average_log_probability" not in found.reason
    assert "average_log_probability" in found.assessment.judgement.findings[0].detail


def test_a_clock_that_runs_ahead_is_told(gated: Month) -> None:
    gated.record(rows=200)
    gated.record(release=1, rows=50, late_s=2 * HOUR_S, is_new_day=False)
    found = checked(gated)
    assert "clock ahead" in kinds(found)
    assert "50 records are of the future" in found.reason
    assert found.assessment.judgement.window_rows == 200


def test_a_window_over_a_day_is_refused(month: Month) -> None:
    with pytest.raises(UserError, match="at most a day"):
        check_drift(month.platform, MODEL, window_s=DAY_S + 1, now=BEGAN, state=DriftState())


def test_the_estimated_quality_is_kept_and_charted(gated: Month) -> None:
    found = look(gated.platform, MODEL, now=gated.now, window_s=HOUR_S)
    estimate = found.check.estimate
    assert estimate is not None
    assert (estimate.release, estimate.answers) == (1, 400)
    assert estimate.wer == pytest.approx(0.05, abs=0.01)
    assert state_of(gated.platform, MODEL).estimates == (
        replace(estimate, wer=round(estimate.wer, 6)),
    )
    assert found.check.quality is not None
    assert (len(found.check.quality.points), found.check.quality.limit) == (1, None)


def test_slow_worsening_is_watched_and_never_alarmed(gated: Month) -> None:
    rng = np.random.default_rng(3)
    hours = 24 * 20
    wer = 0.03 + rng.normal(0, 0.002, hours) + np.clip(np.arange(hours) - 380, 0, None) * 1e-4
    first = gated.now - (hours + 1) * HOUR_S
    past = tuple(
        WindowEstimate(1, first + n * HOUR_S, first + (n + 1) * HOUR_S, value, 400)
        for n, value in enumerate(wer.tolist())
    )
    found = checked(gated, DriftState(MODEL, estimates=past))
    assert found.verdict == "watch"
    assert "the estimated word error rate is" in found.reason
    chart = found.quality
    assert chart is not None
    assert chart.is_over
    assert chart.centre == pytest.approx(0.03, abs=0.001)
    assert len(chart.points) == hours + 1
    body = json.loads(found.report.to_json())
    assert body["quality"]["limit"] == pytest.approx(chart.limit)
    assert len(body["quality"]["points"]) == hours + 1
