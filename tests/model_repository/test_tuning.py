from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.config import Batching
from model_repository.tuning import BATCH_SIZES, Measurement, Sweep


def speed(batching: Batching) -> float:
    """A machine that likes batches of 8, waits of 2 ms and one instance."""
    size = {1: 10, 4: 30, 8: 50, 16: 49, 32: 48}[batching.max_batch_size]
    wait = {0: 0.8, 2_000: 1.1}.get(batching.queue_delay_us or 0, 1.0)
    return size * wait / batching.instances


def swept(slowest_ms: float = 100.0, cores: int = 4, latency: float = 50.0) -> Sweep:
    sweep = Sweep(Batching(), slowest_ms=slowest_ms, cores=cores)
    for batching in sweep.settings():
        sweep.take(Measurement(batching, speed(batching), latency / 2, latency))
    return sweep


def test_each_setting_is_varied_from_the_best_so_far() -> None:
    best = swept().best.batching
    assert (best.max_batch_size, best.queue_delay_us, best.instances) == (8, 2_000, 1)
    assert best.threads == 4


def test_threads_of_all_instances_are_the_cores() -> None:
    for one in swept(cores=4).measured:
        assert one.batching.instances * one.batching.threads == 4
    assert max(one.batching.instances for one in swept(cores=2).measured) == 2


def test_nothing_is_measured_twice() -> None:
    measured = [one.batching for one in swept().measured]
    assert len(measured) == len({str(one) for one in measured})


def test_the_limit_is_kept_or_said_to_be_broken() -> None:
    assert swept(slowest_ms=60).holds
    assert not swept(slowest_ms=40).holds


def test_a_gain_within_noise_keeps_the_cheaper_setting() -> None:
    sweep = Sweep(Batching(), slowest_ms=100, cores=1)
    for batching in sweep.settings():
        faster = 1.02 if batching.max_batch_size > 1 else 1.0
        sweep.take(Measurement(batching, 100 * faster, 1, 2))
    assert sweep.best.batching.max_batch_size == 1


def test_a_setting_with_failures_is_never_the_best_beside_one_without() -> None:
    sweep = Sweep(Batching(), slowest_ms=100, cores=1)
    for number, batching in enumerate(sweep.settings()):
        failed = 0 if number == 2 else 3
        sweep.take(Measurement(batching, 1000 if failed else 1, 1, 2, failed))
        if number == 2:
            chosen = batching
    assert sweep.best.batching == chosen


@given(st.lists(st.floats(1, 1e4), min_size=len(BATCH_SIZES), max_size=len(BATCH_SIZES)))
def test_the_best_is_within_a_hair_of_the_fastest(speeds: list[float]) -> None:
    sweep = Sweep(Batching(), slowest_ms=100, cores=1)
    for size, rate in zip(BATCH_SIZES, speeds, strict=True):
        sweep.take(Measurement(replace(Batching(), max_batch_size=size), rate, 1, 2))
    assert sweep.best.throughput_rps * 1.03 ** len(BATCH_SIZES) >= max(speeds)


def test_what_could_not_be_measured_says_why() -> None:
    nothing = float("inf")
    row = Measurement(Batching(), 0, nothing, nothing, 1, "does not load").to_json()
    assert row["detail"] == "does not load"
    with pytest.raises(KeyError):
        row["device"]
