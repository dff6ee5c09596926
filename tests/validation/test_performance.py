from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from registry.errors import UserError
from validation.order_statistics import quantile_interval, ratio_interval, requests_needed
from validation.performance import Budgets, Performance, performance_checks
from validation.verdict import Verdict

if TYPE_CHECKING:
    from validation.evidence import Check

TAIL = 0.025


def performance(**changes: object) -> Performance:
    values: dict[str, object] = {
        "latencies_ms": tuple(float(ms) for ms in range(1, 501)),
        "audio_s": (2.0,) * 500,
        "throughput_rps": (90.0, 95.0, 100.0, 105.0, 110.0, 115.0),
        "load_s": 2.5,
        "peak_memory_bytes": 250_000_000,
        "size_bytes": 4_000_000,
        "hardware": {"cores": 2},
    }
    return Performance(**{**values, **changes})  # type: ignore[arg-type] # by the names of the class


def check(budget: dict[str, float], measured: Performance | None) -> Check:
    (found,) = performance_checks(Budgets(**budget), measured, 0.95)
    return found


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_intervals_of_quantiles_cover_what_they_say_whatever_the_distribution(share: float) -> None:
    """Latencies of two modes with a heavy tail: no normal approximation would do."""
    generator = np.random.default_rng(5)
    rounds, count = 1000, 500
    slow = generator.random((rounds, count)) < 0.3
    samples = np.where(slow, 40.0, 5.0) * (1 + generator.pareto(2.0, (rounds, count)))
    # The quantile of the mixture, from as many draws as decide its third digit.
    many = generator.random(2_000_000) < 0.3
    drawn = np.where(many, 40.0, 5.0) * (1 + generator.pareto(2.0, many.size))
    truth = float(np.quantile(drawn, share))
    found = [quantile_interval(row, share, TAIL) for row in samples]
    # 0.025 with the noise of 1000 rounds: 4 standard errors are 0.020.
    assert np.mean([one.high < truth for one in found]) < 0.045
    assert np.mean([one.low > truth for one in found]) < 0.045


def test_intervals_are_those_of_the_binomial() -> None:
    found = quantile_interval(range(1, 11), 0.5, TAIL)
    # The classic table: of ten values, the 2nd and the 9th hold the median with 97.9 %.
    assert (found.value, found.low, found.high) == (5.0, 2.0, 9.0)


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_as_many_requests_as_needed_bound_a_quantile_and_one_fewer_do_not(share: float) -> None:
    needed = requests_needed(share, TAIL)
    assert quantile_interval(range(needed), share, TAIL).high == needed - 1
    assert math.isinf(quantile_interval(range(needed - 1), share, TAIL).high)


def test_a_quantile_passes_fails_or_is_undecided_by_its_interval() -> None:
    verdicts = {
        budget: check({"p95_ms": budget}, performance()).verdict for budget in (440.0, 475.0, 490.0)
    }
    assert verdicts == {
        440.0: Verdict.FAIL,
        475.0: Verdict.INCONCLUSIVE,
        490.0: Verdict.PASS,
    }


def test_a_pass_and_a_small_p_value_are_the_same_thing() -> None:
    for budget in range(455, 500):
        found = check({"p95_ms": budget}, performance())
        assert found.p_value is not None
        assert (found.verdict is Verdict.PASS) == (found.p_value <= TAIL)


def test_too_few_requests_for_a_p99_are_inconclusive_and_say_how_many_it_takes() -> None:
    found = check({"p99_ms": 900.0}, performance(latencies_ms=tuple(map(float, range(1, 201)))))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "200 requests are too few to bound it, it needs 368" in found.reason
    assert requests_needed(0.99, TAIL) == 368
    assert found.high is None


def test_too_few_requests_can_still_show_that_a_budget_is_broken() -> None:
    found = check({"p99_ms": 5.0}, performance(latencies_ms=tuple(map(float, range(1, 201)))))
    assert found.verdict is Verdict.FAIL


def test_a_budget_without_a_measurement_is_an_error() -> None:
    budgets = Budgets(
        p50_ms=1,
        p95_ms=1,
        p99_ms=1,
        rtf=1,
        throughput_rps=1,
        size_mb=1,
        memory_mb=1,
        load_s=1,
    )
    checks = list(performance_checks(budgets, None, 0.95))
    assert {one.name for one in checks} == set(Budgets.model_fields)
    assert {one.verdict for one in checks} == {Verdict.ERROR}


@pytest.mark.parametrize(
    ("budget", "changes", "says"),
    [
        ({"rtf": 1.0}, {"audio_s": (0.0,) * 500}, "no audio"),
        ({"p50_ms": 1.0}, {"latencies_ms": (), "audio_s": ()}, "no request was timed"),
        ({"throughput_rps": 1.0}, {"throughput_rps": ()}, "no round was timed"),
    ],
)
def test_what_could_not_be_measured_is_an_error(
    budget: dict[str, float], changes: dict[str, object], says: str
) -> None:
    found = check(budget, performance(**changes))
    assert found.verdict is Verdict.ERROR
    assert says in found.reason


def test_no_budget_asks_nothing() -> None:
    assert list(performance_checks(Budgets(), performance(), 0.95)) == []
    assert list(performance_checks(Budgets(), None, 0.95)) == []


def test_throughput_is_a_least_and_needs_six_rounds() -> None:
    verdicts = [
        check({"throughput_rps": least}, performance()).verdict for least in (80.0, 100.0, 120.0)
    ]
    assert verdicts == [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]
    few = check({"throughput_rps": 80.0}, performance(throughput_rps=(100.0,) * 5))
    assert few.verdict is Verdict.INCONCLUSIVE
    assert "it needs 6" in few.reason
    assert few.better == "higher"


def test_the_real_time_factor_is_computing_by_audio() -> None:
    measured = performance(latencies_ms=(500.0, 1500.0) * 30, audio_s=(2.0, 2.0) * 30)
    assert measured.rtf == pytest.approx(0.5)
    assert measured.summary()["audio_s_per_s"] == pytest.approx(2.0)
    assert check({"rtf": 0.7}, measured).verdict is Verdict.PASS
    assert check({"rtf": 0.5}, measured).verdict is Verdict.INCONCLUSIVE
    assert check({"rtf": 0.3}, measured).verdict is Verdict.FAIL


def test_intervals_of_a_ratio_cover_what_they_say() -> None:
    generator = np.random.default_rng(6)
    missed = [0, 0]
    for _ in range(2000):
        audio = generator.uniform(1, 10, 60)
        spent = audio * 0.3 * generator.lognormal(0, 0.4, 60)
        found = ratio_interval(spent, audio, TAIL)
        truth = 0.3 * math.exp(0.08)
        missed[0] += found.low > truth
        missed[1] += found.high < truth
    # Skewed: 3.7 % on one side is what the approximation gives at 60 requests.
    assert all(count / 2000 < 0.05 for count in missed)


@pytest.mark.parametrize(
    ("budget", "verdict"),
    [
        ({"size_mb": 4.0}, Verdict.PASS),
        ({"size_mb": 3.9}, Verdict.FAIL),
        ({"memory_mb": 250.0}, Verdict.PASS),
        ({"memory_mb": 249.0}, Verdict.FAIL),
        ({"load_s": 2.5}, Verdict.PASS),
        ({"load_s": 2.4}, Verdict.FAIL),
    ],
)
def test_what_is_counted_is_compared_as_it_is(budget: dict[str, float], verdict: Verdict) -> None:
    assert check(budget, performance()).verdict is verdict


def test_a_measurement_goes_through_json_unchanged() -> None:
    measured = performance(serve={"threads": 2})
    assert Performance.from_dict(measured.to_dict()) == measured


@pytest.mark.parametrize("document", [{}, {"latencies_ms": "fast"}, {"unknown": 1}])
def test_what_is_no_measurement_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(UserError, match="not a measurement of performance"):
        Performance.from_dict(document)


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_a_budget_is_a_positive_number(value: float) -> None:
    with pytest.raises(ValueError, match="p50_ms"):
        Budgets(p50_ms=value)
