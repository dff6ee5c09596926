"""An estimate of WER from what is logged, and the chart that watches it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drift.control_chart import LEAST_WINDOWS, ControlChart, expected_run_length, limit_for
from drift.quality_estimate import MOST_WER, QualityEstimate, fit_quality
from registry.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Columns = dict[str, NDArray[np.float64]]


def utterances(
    rng: np.random.Generator, speakers: int, each: int, *, noise: float = 0.05
) -> tuple[Columns, NDArray[np.float64], list[str]]:
    """WER grows as log-probability falls; each speaker has a level of their own."""
    names = np.repeat(np.arange(speakers), each)
    own = rng.normal(scale=0.02, size=speakers)[names]
    sure = rng.normal(-0.5, 0.3, len(names))
    snr = rng.normal(15, 5, len(names))
    wer = 0.1 - 0.3 * (sure + 0.5) - 0.004 * (snr - 15) + own
    wer = np.clip(wer + rng.normal(scale=noise, size=len(names)), 0, None)
    columns = {"average_log_probability": sure, "snr_db": snr, "duration_s": rng.random(len(names))}
    return columns, wer, [f"speaker-{name}" for name in names]


def test_the_stated_error_is_that_of_speakers_it_never_saw(rng: np.random.Generator) -> None:
    columns, wer, speakers = utterances(rng, 20, 30)
    estimate = fit_quality(columns, wer, speakers)
    others, truth, _ = utterances(rng, 200, 30)
    off = np.abs(estimate.of(others) - truth).mean()
    assert estimate.error.mean_absolute == pytest.approx(off, rel=0.15)
    assert estimate.error.explained > 0.5
    assert (estimate.error.utterances, estimate.error.speakers) == (600, 20)


def test_signals_that_say_nothing_are_stated_to_say_nothing(rng: np.random.Generator) -> None:
    columns, wer, speakers = utterances(rng, 20, 20)
    shuffled = {name: rng.permutation(values) for name, values in columns.items()}
    assert fit_quality(shuffled, wer, speakers).error.explained < 0.05


def test_a_speaker_that_is_known_by_a_signal_does_not_flatter_the_error(
    rng: np.random.Generator,
) -> None:
    """A signal that tells speakers apart explains nothing of a new one."""
    names = np.repeat(np.arange(8), 50)
    level = rng.random(8)[names]
    columns = {"duration_s": names + rng.normal(scale=0.01, size=400), "snr_db": np.sin(names)}
    estimate = fit_quality(columns, level, [str(name) for name in names])
    assert estimate.error.explained < 0.2


def test_missing_values_count_as_the_mean(rng: np.random.Generator) -> None:
    columns, wer, speakers = utterances(rng, 10, 20)
    estimate = fit_quality(columns, wer, speakers)
    nothing = {name: np.full(3, np.nan) for name in columns}
    assert estimate.of(nothing) == pytest.approx(np.full(3, estimate.intercept))
    assert estimate.of({"rms": np.ones(3)}) == pytest.approx(np.full(3, estimate.intercept))
    infinite = {name: np.full(2, np.inf) for name in columns}
    assert np.isfinite(estimate.of(infinite)).all()


def test_estimates_are_rates(rng: np.random.Generator) -> None:
    columns, wer, speakers = utterances(rng, 10, 20)
    far = {name: values * 1000 for name, values in columns.items()}
    found = fit_quality(columns, wer, speakers).of(far)
    assert found.min() >= 0
    assert found.max() <= MOST_WER


def test_json_and_back_is_the_same_estimate(rng: np.random.Generator) -> None:
    columns, wer, speakers = utterances(rng, 10, 20)
    estimate = fit_quality(columns, wer, speakers)
    body = json.loads(json.dumps(estimate.to_json()))
    assert QualityEstimate.from_json(body) == estimate
    nothing: dict[str, Any] = {}
    changes = ({"format": 2}, {"weights": [1.0]}, {"means": ["x"]})
    for broken in (nothing, *(body | change for change in changes)):
        with pytest.raises(UserError, match="gate the release again"):
            QualityEstimate.from_json(broken)


def test_too_little_to_state_an_error_is_refused(rng: np.random.Generator) -> None:
    columns, wer, speakers = utterances(rng, 4, 20)
    with pytest.raises(UserError, match="4 speakers"):
        fit_quality(columns, wer, speakers)
    with pytest.raises(UserError, match="no logged signal"):
        fit_quality({"rms": wer}, wer, [str(number) for number in range(80)])


def test_the_run_length_is_kept(rng: np.random.Generator) -> None:
    """300 charts without any change: the mean run has a deviation of 6 % of itself."""
    chart = ControlChart(0.0, 1.0, 100.0, limit_for(100.0))
    runs = []
    for values in rng.normal(size=(300, 1500)).tolist():
        calls = chart.calls(values)
        runs.append(calls.index(True) + 1 if True in calls else 1500)
    assert np.mean(runs) == pytest.approx(100, rel=0.25)


def test_worsening_is_found_soon_and_bettering_never(rng: np.random.Generator) -> None:
    normal = rng.normal(0.05, 0.01, 200).tolist()
    chart = ControlChart.of(normal, 720.0)
    assert expected_run_length(chart.limit) == pytest.approx(720, rel=1e-3)
    assert expected_run_length(chart.limit, shift=1.0) < 12
    worse = chart.calls((rng.normal(0.07, 0.01, 20)).tolist())
    assert worse.index(True) < 8
    assert not any(chart.calls(rng.normal(0.01, 0.01, 200).tolist()))


def test_windows_without_an_estimate_change_nothing() -> None:
    chart = ControlChart(0.0, 1.0, 720.0, limit_for(720.0))
    averages = chart.averages([1.0, float("nan"), 1.0])
    assert averages[0] == averages[1] < averages[2]


def test_a_chart_from_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        ControlChart.of([0.1] * (LEAST_WINDOWS - 1), 720.0)
    with pytest.raises(ValueError, match="cannot be stated"):
        limit_for(1.0)
