"""What is drawn for labelling: the worst, and a draw whose weights make it fair."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drift.sample import draw_sample
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from registry.errors import UserError

AT = datetime(2026, 11, 21, 3, tzinfo=UTC)


def log(
    rows: int, *, seed: int = 1, hours: int = 3, releases: int = 2, bad: float = 0.02, **given: Any
) -> pa.Table:
    rng = np.random.default_rng(seed)
    columns = {
        "at": [AT + timedelta(hours=float(at)) for at in rng.uniform(0, hours, rows)],
        "request": [f"r{number}" for number in range(rows)],
        "session": [f"s{number // 3}" for number in range(rows)],
        "release": rng.integers(1, releases + 1, rows),
        "language": rng.choice(["vi", "en", "de"], rows, p=[0.9, 0.08, 0.02]).tolist(),
        "average_log_probability": rng.normal(-0.3, 0.1, rows),
        "empty": rng.random(rows) < bad,
        **given,
    }
    return pa.table(
        {name: columns.get(name, [None] * rows) for name in PREDICTION_SCHEMA.names},
        schema=PREDICTION_SCHEMA,
    )


@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(1, 300),
    size=st.integers(1, 400),
    hours=st.integers(1, 30),
    seed=st.integers(0, 5),
)
def test_as_many_as_asked_each_once_and_the_weights_add_to_all(
    rows: int, size: int, hours: int, seed: int
) -> None:
    sample = draw_sample(log(rows, hours=hours), size, seed)
    chosen = [one.row for one in sample.chosen]
    assert len(chosen) == len(set(chosen)) == min(size, rows)
    worst = [one for one in sample.chosen if one.stratum == "worst"]
    assert len(worst) <= size * 0.25
    assert all(one.weight == 1 for one in worst)
    if len(chosen) > len(worst):
        assert sum(one.weight for one in sample.chosen) == pytest.approx(rows)
    assert sample == draw_sample(log(rows, hours=hours), size, seed)


def test_the_weighted_mean_is_fair_and_the_plain_one_is_not() -> None:
    table = log(4000, bad=0.04)
    empty = np.array(table.column("empty").to_pylist())
    weighted, plain = [], []
    for seed in range(100):
        sample = draw_sample(table, 120, seed)
        rows = [one.row for one in sample.chosen]
        weights = np.array([one.weight for one in sample.chosen])
        weighted.append(float((empty[rows] * weights).sum() / weights.sum()))
        plain.append(float(empty[rows].mean()))
    error = np.std(weighted) / np.sqrt(len(weighted))
    assert abs(np.mean(weighted) - empty.mean()) < 4 * error
    assert np.mean(plain) > 4 * empty.mean()


def test_the_worst_come_with_their_reasons() -> None:
    rows = 100
    flags = {
        "empty": [number == 7 for number in range(rows)],
        "looping": [number in {7, 8} for number in range(rows)],
        "fallback": [number == 9 for number in range(rows)],
        "average_log_probability": [-2.0 if number == 10 else -0.3 for number in range(rows)],
    }
    sample = draw_sample(log(rows, **flags), 20, 1)
    why = {one.row: one.why for one in sample.chosen if one.stratum == "worst"}
    assert why[7] == "empty answer; looping answer; log-probability -0.30"
    assert why[9].startswith("answer cut short")
    assert why[10] == "log-probability -2.00"
    assert len(why) == 5


def test_strata_are_as_fine_as_the_size_allows() -> None:
    table = log(3000, hours=24)
    assert draw_sample(table, 2000, 1).strata == ("release", "hour", "kind")
    assert draw_sample(table, 100, 1).strata == ("release", "kind")
    assert draw_sample(table, 8, 1).strata == ("release",)
    assert draw_sample(table, 2, 1).strata == ()
    few = [one for one in draw_sample(table, 100, 1).chosen if one.stratum == "1 de"]
    assert len(few) >= 2, "a rare language is drawn all the same"


def test_a_script_stands_in_for_a_language() -> None:
    given = {"language": [None] * 60, "script": ["Latin"] * 30 + ["Han"] * 30}
    sample = draw_sample(log(60, hours=1, releases=1, bad=0.0, **given), 30, 1)
    assert {one.stratum.split()[-1] for one in sample.chosen} == {"Latin", "Han", "worst"}


def test_refused_requests_have_nothing_to_label() -> None:
    errors = ["too long"] * 10 + [None] * 5
    sample = draw_sample(log(15, error=errors), 15, 1)
    assert [one.row for one in sample.chosen] == [10, 11, 12, 13, 14]
    with pytest.raises(UserError, match="no answered request"):
        draw_sample(log(10, error=["too long"] * 10), 5, 1)
    with pytest.raises(UserError, match="a sample of 0"):
        draw_sample(log(10), 0, 1)
