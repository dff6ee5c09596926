"""The budget in small: months without drift, and a shift that is found.

`python -m benchmarks.drift_alarms` measures it over hundreds of months and beside other rules.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import drift_alarms, drift_worlds
from drift.assessment import assess
from drift.budget import Threshold
from drift.verdicts import Alarm

DAYS = drift_worlds.REFERENCE_DAYS + drift_alarms.POLICY.history_days


@pytest.fixture(scope="module")
def traces() -> dict[str, drift_alarms.Trace]:
    return {
        world: drift_alarms.Trace.of(
            drift_worlds.simulate(np.random.default_rng(5), world, DAYS + 60, 200)
        )
        for world in drift_worlds.WORLDS
    }


@pytest.mark.parametrize("world", drift_worlds.WORLDS)
def test_two_months_without_drift(traces: dict[str, drift_alarms.Trace], world: str) -> None:
    """1.8 are the distances' budget; 8 or more would come once in 1,000 tests."""
    rng = np.random.default_rng(1)
    days = drift_alarms.alarms(rng, traces[world], 60).any(axis=1)
    assert days.sum() <= 7


def test_one_column_that_moves_is_found(traces: dict[str, drift_alarms.Trace]) -> None:
    rng = np.random.default_rng(2)
    trace, first = traces["stationary"], drift_alarms.POLICY.history_days
    for day in range(first, first + 3):
        drifted, _ = drift_alarms.with_drift(rng, trace, day)
        assert drift_alarms.alarms_of_day(rng, drifted, first).any()


def test_the_benchmarks_distances_are_the_products(
    traces: dict[str, drift_alarms.Trace],
) -> None:
    rng, trace = np.random.default_rng(3), traces["daily cycle"]
    last = drift_worlds.REFERENCE_DAYS + 11
    reference = trace.traffic.table(rng, slice(last - 7, last), 5)
    table = trace.traffic.table(rng, slice(last, last + 1), 5)
    kept = trace.kept(11, 5)
    found = assess(reference, table, drift_alarms.POLICY, span=kept.span).distances
    assert found is not None
    assert (found.window_units, found.reference_units) == (kept.window_units, kept.reference_units)
    for name, value in kept.values.items():
        assert found.values[name] == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_a_judgement_says_what_it_was_held_against(
    traces: dict[str, drift_alarms.Trace],
) -> None:
    rng, trace = np.random.default_rng(4), traces["day effects"]
    day = drift_alarms.POLICY.history_days + 3
    drifted, _ = drift_alarms.with_drift(rng, trace, day, shift=2.0)
    first = drift_alarms.POLICY.history_days
    found = drift_alarms.judgement(rng, drifted, first, 6)
    assert isinstance(found.outcome, Alarm)
    assert len(found.outcome.columns) == 1
    assert found.outcome.columns[0] == found.calibration.signal.split()[0]
    assert isinstance(found.calibration.alarm, Threshold)
    assert found.calibration.score > found.calibration.alarm.value > 1
    assert isinstance(found.calibration.watch, Threshold)
    assert found.calibration.watch.value <= found.calibration.alarm.value


def test_what_days_differ_by_alone_is_no_alarm(traces: dict[str, drift_alarms.Trace]) -> None:
    """Windows that their own sessions call different for sure, and that past days were like."""
    rng, trace = np.random.default_rng(6), traces["day effects"]
    first = drift_alarms.POLICY.history_days
    different = 0
    for day in range(first, first + 8):
        found = drift_alarms.judgement(rng, trace, day, 12)
        different += found.p_value <= 0.01
        assert not isinstance(found.outcome, Alarm)
    assert different >= 1
