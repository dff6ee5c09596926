"""The rules of the field against examples worked by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.canary_field.argo import ERROR, FAILURE, INCONCLUSIVE, SUCCESS, Argo
from benchmarks.canary_field.flagger import Flagger
from benchmarks.canary_field.kayenta import Kayenta, hodges_lehmann, without_outliers
from benchmarks.canary_field.naive import Naive
from benchmarks.canary_field.serving import serve
from benchmarks.canary_field.traces import (
    BOUNDS,
    ERRORS,
    EXTRA_ERRORS,
    HORIZON_S,
    REQUESTS,
    Trace,
)

if TYPE_CHECKING:
    from benchmarks.canary_field.serving import MinuteRule

MINUTES = HORIZON_S // 60


def minute(requests: int = 0, errors: int = 0, slow: int = 0) -> list[list[int]]:
    """Counts of one run's minute in one arm, as (kinds, runs)."""
    return [[requests], [errors], [slow], [0], [0]]


def weights(rule: MinuteRule, candidate: list[list[list[int]]]) -> list[int]:
    """The weights that a rule sets, minute by minute, with a baseline that never errs."""
    arm = np.asarray(candidate, dtype=np.int32)
    other = np.asarray([minute(1000)] * len(candidate), dtype=np.int32)
    first = [int(rule.start(1)[0])]
    looks = range(1, len(arm) + 1)
    return first + [int(rule.look(at, arm[:at], other[:at])[0]) for at in looks]


def test_flagger_adds_ten_percent_a_minute_and_promotes_from_fifty() -> None:
    assert weights(Flagger(), [minute(100, 1)] * 6) == [10, 20, 30, 40, 50, 100, 100]


@pytest.mark.parametrize(
    "bad", [minute(100, 2), minute(100, 0, slow=2), minute(0)], ids=["errors", "slow", "silent"]
)
def test_flagger_goes_back_the_minute_after_the_fifth_failed_check(bad: list[list[int]]) -> None:
    assert weights(Flagger(), [bad] * 6) == [10] * 6 + [0]
    once_well = [bad, bad, minute(100), bad, bad, bad, bad]
    assert weights(Flagger(), once_well) == [10, 10, 10, 20, 20, 20, 20, 0]


def test_argo_aborts_at_the_failure_after_its_limit() -> None:
    """Three failures are allowed: 94 % at 5, 10 and 15 minutes; the one at 20 aborts."""
    seen = weights(Argo(), [minute(100, 6)] * 20)
    assert seen == [10] * 10 + [20] * 10 + [0]


def test_argo_promotes_what_succeeds_after_its_five_pauses() -> None:
    seen = weights(Argo(), [minute(100, 5)] * 50)
    assert [seen[at] for at in (0, 9, 10, 20, 30, 40, 49, 50)] == [10, 10, 20, 40, 60, 80, 80, 100]


def test_argo_errs_without_requests_and_aborts_at_the_fifth_error_in_a_row() -> None:
    assert weights(Argo(), [minute()] * 25)[-1] == 0
    assert weights(Argo(), [minute()] * 24)[-1] > 0
    with_one_answer = [minute()] * 20 + [minute(1)] + [minute()] * 9
    assert weights(Argo(), with_one_answer)[-1] > 0


def test_argo_pauses_where_neither_condition_is_met() -> None:
    rule = Argo(success_from=0.95, failure_below=0.90)
    window = np.asarray([[100, 100, 100, 0], [5, 8, 11, 0]])
    assert rule.measure(window).tolist() == [SUCCESS, INCONCLUSIVE, FAILURE, ERROR]
    assert weights(rule, [minute(100, 8)] * 30) == [10] * 31


def test_argo_stops_measuring_after_its_count() -> None:
    after = [minute(100)] * 10 + [minute(100, 50)] * 40
    assert weights(Argo(count=2), after)[-1] == 100
    assert weights(Argo(), after)[-1] == 0


def test_naive_goes_back_above_twice_the_rate_of_five_minutes() -> None:
    rule = Naive()
    rule.start(2)
    candidate = np.asarray([minute(100, 2)] * 5, dtype=np.int32).repeat(2, axis=2)
    baseline = np.asarray([minute(900, 9)] * 5, dtype=np.int32).repeat(2, axis=2)
    candidate[4, ERRORS, 1] += 1
    assert rule.look(4, candidate[:4], baseline[:4]).tolist() == [10, 10]
    # 10 of 500 is just twice 45 of 4,500; 11 of 500 is more.
    assert rule.look(5, candidate, baseline).tolist() == [10, 0]


def test_kayenta_needs_a_shift_that_is_beyond_a_quarter_of_itself() -> None:
    """Worked by hand for 10 and 10 values; the standard deviation of U is 13.23.

    Shifted by 10, less a quarter of it: U is 97, z = 3.51. By 5: U is 79, z = 2.15, under the
    2.33 of a confidence of 0.98, though U is 87.5, z = 2.80 without the tolerance. By 2: z = 1.02.
    """
    control = np.tile(np.arange(1.0, 11.0), (3, 1))
    experiment = control + np.asarray([[10.0], [5.0], [2.0]])
    assert hodges_lehmann(experiment, control).tolist() == [10, 5, 2]
    assert Kayenta().is_high(experiment, control).tolist() == [True, False, False]
    assert Kayenta(tolerance=0).is_high(experiment, control).tolist() == [True, True, False]
    # Minutes without traffic are left out, so the answers are the same.
    gap = np.full((3, 1), np.nan)
    gaps = np.concatenate([experiment, gap], axis=1), np.concatenate([gap, control], axis=1)
    assert Kayenta().is_high(*gaps).tolist() == [True, False, False]


def test_kayenta_leaves_out_what_lies_beyond_both_fences() -> None:
    values = np.tile(np.arange(120.0), (2, 1))
    values[0, -1] = 1e6
    kept = without_outliers(values)
    assert np.isnan(kept).sum(axis=1).tolist() == [1, 0]


def test_kayenta_ends_at_the_first_hour_when_one_of_two_metrics_is_high() -> None:
    outcome = Kayenta().roll_out(steady(requests=600, errors=6, extra=30))
    assert outcome.seconds.tolist() == [3600]
    assert outcome.requests.tolist() == [60 * 60]
    assert outcome.harmed.tolist() == [60 * 3]
    assert not Kayenta().roll_out(steady(requests=600, errors=6, extra=0)).turned_back.any()


def steady(requests: int, errors: int, extra: int) -> Trace:
    """Each minute the same, but for a ripple that keeps values from being all tied."""
    counts = np.zeros((MINUTES, 5, len(BOUNDS), 1), dtype=np.int32)
    ripple = np.arange(MINUTES)[:, None, None] % 3
    part = np.asarray(BOUNDS)[None, :, None]
    counts[:, REQUESTS] = requests * part // 100
    counts[:, ERRORS] = (errors + 20 * ripple) * part // 100
    counts[:, EXTRA_ERRORS] = extra * part // 100
    return Trace(np.arange(60.0, HORIZON_S + 1, 60.0), counts)


def test_harm_is_counted_until_the_rollback_and_to_the_end_when_it_is_missed() -> None:
    trace = steady(requests=1000, errors=0, extra=100)
    found = serve(trace, Flagger(least_success=100.0))
    assert (found.seconds[0], found.requests[0], found.harmed[0]) == (360, 6 * 100, 6 * 10)
    missed = serve(trace, Flagger(least_success=80.0))
    assert math.isinf(missed.seconds[0])
    assert missed.harmed[0] == 10 + 20 + 30 + 40 + 50 + (MINUTES - 5) * 100
