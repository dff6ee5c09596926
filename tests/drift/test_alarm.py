"""One window: what its sessions alone say, how often that is false, what it admits not to see.

Without a past the most that is said of a distance is Watch; `test_alarm_rate.py` has one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from drift.alarm import judge_window
from drift.permutation import MOST_GROUPS, group_units, pool, weigh_columns
from drift.policy import DriftPolicy
from drift.verdicts import Alarm, NotEnoughData, Quiet, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    Table = Callable[..., pa.Table]

FAST = DriftPolicy(alpha=0.1, guard_alpha=0.1, permutations=99, least_effect=1e-6)


def false_watches(
    table: Table, rng: np.random.Generator, rows: int, times: int, *, sessions: int = 0, unit: str
) -> int:
    """How many of `times` windows without drift are Watch; any effect counts."""
    policy = FAST.model_copy(update={"unit": unit})
    reference_sessions = 2 * sessions
    return sum(
        isinstance(
            judge_window(
                table(rng, 2 * rows, sessions=reference_sessions),
                table(rng, rows, sessions=sessions),
                policy,
            ).outcome,
            Watch,
        )
        for _ in range(times)
    )


@pytest.mark.parametrize(("rows", "times"), [(50, 60), (500, 20), (5000, 4)])
def test_false_watches_are_at_most_the_stated_rate(
    table: Table, rng: np.random.Generator, rows: int, times: int
) -> None:
    """Four standard deviations of tolerance; benchmarks/drift_false_alarms.py measures finely."""
    found = false_watches(table, rng, rows, times, unit="request")
    assert found <= times * 0.1 + 4 * (times * 0.1 * 0.9) ** 0.5


def test_sessions_not_requests_are_dealt(table: Table, rng: np.random.Generator) -> None:
    """Ten requests a session that resemble each other: by request, the alarm is false."""
    by_session = false_watches(table, rng, 400, 20, sessions=40, unit="session")
    by_request = false_watches(table, rng, 400, 20, sessions=40, unit="request")
    assert by_session <= 2 + 4 * 1.8**0.5
    assert by_request >= 10


@pytest.mark.parametrize(("rows", "shift"), [(50, 1.5), (500, 0.6), (5000, 0.4)])
def test_a_shift_that_matters_is_watched(
    table: Table, rng: np.random.Generator, rows: int, shift: float
) -> None:
    judgement = judge_window(table(rng, 5000), table(rng, rows, shift=shift), DriftPolicy())
    assert isinstance(judgement.outcome, Watch)
    assert "14 more days" in judgement.outcome.reason
    assert judgement.outcome.columns[0] == "c0"
    assert "c0 is higher" in judgement.outcome.reason
    moved = next(column for column in judgement.columns if column.name == "c0")
    assert moved.shift > 0.1


def test_a_certain_but_small_shift_is_quiet(table: Table, rng: np.random.Generator) -> None:
    judgement = judge_window(table(rng, 6000), table(rng, 6000, shift=0.12), DriftPolicy())
    assert isinstance(judgement.outcome, Quiet)
    assert judgement.p_value <= 0.01


def test_a_changed_shape_is_watched_without_a_shift(rng: np.random.Generator) -> None:
    reference = pa.table({"c": rng.normal(size=4000)})
    window = pa.table({"c": rng.choice([-1.0, 1.0], 500) + 0.1 * rng.normal(size=500)})
    outcome = judge_window(reference, window, DriftPolicy()).outcome
    assert isinstance(outcome, Watch)
    assert "another shape" in outcome.reason


def test_more_missing_values_are_watched(rng: np.random.Generator) -> None:
    def make(rows: int, share: float) -> pa.Table:
        return pa.table({"c": np.where(rng.random(rows) < share, np.nan, rng.normal(size=rows))})

    outcome = judge_window(make(4000, 0.02), make(500, 0.2), DriftPolicy()).outcome
    assert isinstance(outcome, Watch)


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
    assert isinstance(judgement.outcome, Watch)
    assert judgement.window_units == 9000


def test_groups_of_units_add_up_and_say_the_same(rng: np.random.Generator) -> None:
    values = rng.normal(size=9000)
    values[6000:] += 0.1
    pooled = pool([("c", values)], np.arange(9000), 6000, 10)
    grouped = group_units(pooled, rng)
    assert len(grouped.counts) <= MOST_GROUPS * 1.5
    assert grouped.reference == 1500
    assert grouped.counts.sum() == 9000
    alone, together = (
        weigh_columns(one, permutations=499, alpha=0.01, rng=np.random.default_rng(1))[0]
        for one in (replace(pooled), grouped)
    )
    assert together.divergence == pytest.approx(alone.divergence)
    assert max(alone.p_value, together.p_value) <= 0.01
    few = pool([("c", values[:900])], np.arange(900), 600, 10)
    assert group_units(few, rng) is few


def test_dealing_groups_is_false_as_seldom(rng: np.random.Generator) -> None:
    p_values = []
    for _ in range(80):
        pooled = pool([("c", rng.normal(size=6000))], np.arange(6000), 4000, 10)
        assert len(group_units(pooled, rng).counts) == 1999
        p_values.append(weigh_columns(pooled, permutations=49, alpha=0.1, rng=rng)[0].p_value)
    low = sum(p_value <= 0.2 for p_value in p_values)
    assert abs(low - 16) <= 4 * (80 * 0.2 * 0.8) ** 0.5


def test_policy_refuses_what_it_cannot_keep() -> None:
    with pytest.raises(ValidationError, match="permutations cannot show"):
        DriftPolicy(alpha=0.001, permutations=999)
    with pytest.raises(ValidationError, match="under false_alarms"):
        DriftPolicy(false_alarms_per_month=5)
    with pytest.raises(ValidationError, match="not under tolerated"):
        DriftPolicy(worse_margin=0.03)
    with pytest.raises(ValidationError, match="over reference_days"):
        DriftPolicy(reference_days=2)
    with pytest.raises(ValidationError, match="at least one"):
        DriftPolicy(distances=())
    with pytest.raises(ValidationError, match="extra"):
        DriftPolicy.model_validate({"alhpa": 0.01})
