"""The alarm keeps its promise: how often it is false, what it sees, what it admits not to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from drift.alarm import Alarm, NotEnoughData, Quiet, Watch, judge_window
from drift.policy import DriftPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    Table = Callable[..., pa.Table]

FAST = DriftPolicy(alpha=0.1, watch_alpha=0.1, permutations=99, least_effect=1e-6)


def false_alarms(
    table: Table, rng: np.random.Generator, rows: int, times: int, *, sessions: int = 0, unit: str
) -> int:
    """How many of `times` windows without drift alarm; any effect counts."""
    policy = FAST.model_copy(update={"unit": unit})
    reference_sessions = 2 * sessions
    return sum(
        isinstance(
            judge_window(
                table(rng, 2 * rows, sessions=reference_sessions),
                table(rng, rows, sessions=sessions),
                policy,
            ).outcome,
            Alarm,
        )
        for _ in range(times)
    )


@pytest.mark.parametrize(("rows", "times"), [(50, 200), (500, 60), (5000, 10)])
def test_false_alarms_are_at_most_the_stated_rate(
    table: Table, rng: np.random.Generator, rows: int, times: int
) -> None:
    """Four standard deviations of tolerance; benchmarks/drift_false_alarms.py measures finely."""
    found = false_alarms(table, rng, rows, times, unit="request")
    assert found <= times * 0.1 + 4 * (times * 0.1 * 0.9) ** 0.5


def test_sessions_not_requests_are_dealt(table: Table, rng: np.random.Generator) -> None:
    """Ten requests a session that resemble each other: by request, the alarm is false."""
    by_session = false_alarms(table, rng, 400, 40, sessions=40, unit="session")
    by_request = false_alarms(table, rng, 400, 40, sessions=40, unit="request")
    assert by_session <= 4 + 4 * 3.6**0.5
    assert by_request >= 20


@pytest.mark.parametrize(("rows", "shift"), [(50, 1.5), (500, 0.6), (5000, 0.4)])
def test_a_shift_that_matters_alarms(
    table: Table, rng: np.random.Generator, rows: int, shift: float
) -> None:
    judgement = judge_window(table(rng, 5000), table(rng, rows, shift=shift), DriftPolicy())
    assert isinstance(judgement.outcome, Alarm)
    assert judgement.outcome.columns[0] == "c0"
    assert "c0 is higher" in judgement.outcome.reason
    moved = next(column for column in judgement.columns if column.name == "c0")
    assert moved.shift > 0.1


def test_a_certain_but_small_shift_is_watched(table: Table, rng: np.random.Generator) -> None:
    judgement = judge_window(table(rng, 8000), table(rng, 8000, shift=0.12), DriftPolicy())
    assert isinstance(judgement.outcome, Watch)
    assert judgement.outcome.columns[0] == "c0"


def test_a_changed_shape_alarms_without_a_shift(rng: np.random.Generator) -> None:
    reference = pa.table({"c": rng.normal(size=4000)})
    window = pa.table({"c": rng.choice([-1.0, 1.0], 500) + 0.1 * rng.normal(size=500)})
    outcome = judge_window(reference, window, DriftPolicy()).outcome
    assert isinstance(outcome, Alarm)
    assert "another shape" in outcome.reason


def test_more_missing_values_alarm(rng: np.random.Generator) -> None:
    def make(rows: int, share: float) -> pa.Table:
        return pa.table({"c": np.where(rng.random(rows) < share, np.nan, rng.normal(size=rows))})

    outcome = judge_window(make(4000, 0.02), make(500, 0.2), DriftPolicy()).outcome
    assert isinstance(outcome, Alarm)


def test_quiet_is_earned(table: Table, rng: np.random.Generator) -> None:
    policy = DriftPolicy(permutations=199, alpha=0.01)
    outcomes = [judge_window(table(rng, 2000), table(rng, 1000), policy).outcome for _ in range(5)]
    assert sum(isinstance(outcome, Quiet) for outcome in outcomes) >= 4  # one in 20 is Watch
    few = judge_window(table(rng, 5000), table(rng, 60), policy).outcome
    assert isinstance(few, NotEnoughData)
    assert few.window_more > 0
    assert few.reference_more == 0


def test_the_missing_units_are_enough(table: Table, rng: np.random.Generator) -> None:
    """With a few more than asked for, the answer is no longer that data lacks."""
    policy = DriftPolicy()
    reference = table(rng, 5000)
    few = judge_window(reference, table(rng, 60), policy).outcome
    assert isinstance(few, NotEnoughData)
    enough = judge_window(reference, table(rng, 60 + round(1.25 * few.window_more)), policy)
    assert not isinstance(enough.outcome, NotEnoughData)


def test_a_reference_that_is_too_small_is_named(table: Table, rng: np.random.Generator) -> None:
    outcome = judge_window(table(rng, 60), table(rng, 2000), DriftPolicy()).outcome
    assert isinstance(outcome, NotEnoughData)
    assert outcome.reference_more > 0


@pytest.mark.parametrize(("reference", "window"), [(1000, 0), (0, 1000), (0, 0)])
def test_no_data_is_never_quiet(
    table: Table, rng: np.random.Generator, reference: int, window: int
) -> None:
    outcome = judge_window(table(rng, reference), table(rng, window), DriftPolicy()).outcome
    assert isinstance(outcome, NotEnoughData)
    assert "empty" in outcome.reason
    assert outcome.window_more + outcome.reference_more > 0


def test_a_broken_column_alarms_and_the_others_are_still_compared(
    table: Table, rng: np.random.Generator
) -> None:
    window = table(rng, 500).drop_columns(["c3"])
    judgement = judge_window(table(rng, 5000), window, DriftPolicy())
    assert isinstance(judgement.outcome, Alarm)
    assert judgement.outcome.columns == ("c3",)
    assert len(judgement.columns) == 11


def test_a_new_column_is_named_and_not_compared(table: Table, rng: np.random.Generator) -> None:
    window = table(rng, 1000).append_column("new", pa.array(rng.random(1000)))
    assert judge_window(table(rng, 5000), window, DriftPolicy()).not_compared == ("new",)


def test_the_same_tables_give_the_same_judgement(table: Table, rng: np.random.Generator) -> None:
    reference, window = table(rng, 1000), table(rng, 300)
    policy = DriftPolicy(most_units=200)
    assert judge_window(reference, window, policy) == judge_window(reference, window, policy)


def test_many_units_are_sampled_and_drift_is_still_seen(
    table: Table, rng: np.random.Generator
) -> None:
    policy = DriftPolicy(most_units=1000)
    judgement = judge_window(table(rng, 9000), table(rng, 9000, shift=0.6), policy)
    assert isinstance(judgement.outcome, Alarm)
    assert judgement.window_units == 9000


def test_policy_refuses_what_it_cannot_keep() -> None:
    with pytest.raises(ValidationError, match="permutations cannot show"):
        DriftPolicy(alpha=0.001, watch_alpha=0.05, permutations=999)
    with pytest.raises(ValidationError, match="under alpha"):
        DriftPolicy(alpha=0.05, watch_alpha=0.01)
    with pytest.raises(ValidationError, match="extra"):
        DriftPolicy.model_validate({"alhpa": 0.01})
