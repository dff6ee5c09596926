"""SI-SDR and SNR against a slow reference in plain Python, and cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validation.enhancement import LIMIT_DB, improvement, si_sdr, snr

samples = st.floats(-1, 1, width=32)
signals = st.integers(1, 20).flatmap(
    lambda size: st.tuples(*[st.lists(samples, min_size=size, max_size=size)] * 2)
)


def slow_si_sdr(reference: list[float], estimate: list[float]) -> float:
    """The formula of Le Roux et al. 2019, one sample at a time."""
    energy = math.fsum(s * s for s in reference)
    scale = math.fsum(s * x for s, x in zip(reference, estimate, strict=True)) / energy
    target = math.fsum((scale * s) ** 2 for s in reference)
    rest = math.fsum((x - scale * s) ** 2 for s, x in zip(reference, estimate, strict=True))
    return slow_decibels(target, rest)


def slow_snr(reference: list[float], estimate: list[float]) -> float:
    signal = math.fsum(s * s for s in reference)
    rest = math.fsum((x - s) ** 2 for s, x in zip(reference, estimate, strict=True))
    return slow_decibels(signal, rest)


def slow_decibels(signal: float, rest: float) -> float:
    if not signal:
        return -LIMIT_DB
    if not rest:
        return LIMIT_DB
    return min(LIMIT_DB, max(-LIMIT_DB, 10 * (math.log10(signal) - math.log10(rest))))


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@settings(max_examples=300, deadline=None)
@given(signals)
def test_both_are_the_formulas(pair: tuple[list[float], list[float]]) -> None:
    reference, estimate = pair
    if math.fsum(s * s for s in reference) < 1e-12:
        return
    found, expected = float(snr(reference, estimate)), slow_snr(reference, estimate)
    assert found == pytest.approx(expected, abs=1e-6)
    found, expected = float(si_sdr(reference, estimate)), slow_si_sdr(reference, estimate)
    # Where one part is nothing but rounding, its logarithm is that of rounding.
    if abs(expected) < 90:
        assert found == pytest.approx(expected, abs=1e-4)
    else:
        assert abs(found) > 80


@pytest.mark.parametrize("decibels", [-20.0, -3.0, 0.0, 7.5, 40.0])
def test_orthogonal_noise_of_a_known_level(decibels: float) -> None:
    turns = 2 * np.pi * np.arange(1600) / 16
    speech, rest = np.sin(turns), np.cos(turns) * 10 ** (-decibels / 20)
    assert float(si_sdr(speech, speech + rest)) == pytest.approx(decibels, abs=1e-9)
    assert float(snr(speech, speech + rest)) == pytest.approx(decibels, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-3, 1e3), st.sampled_from([1.0, -1.0]), st.integers(0, 99))
def test_loudness_and_sign_change_no_si_sdr(gain: float, sign: float, seed: int) -> None:
    speech, rest = noise(seed, 2, 400)
    expected = float(si_sdr(speech, speech + 0.3 * rest))
    louder = float(si_sdr(speech, sign * gain * (speech + 0.3 * rest)))
    assert louder == pytest.approx(expected, abs=1e-9)
    assert float(si_sdr(gain * speech, speech + 0.3 * rest)) == pytest.approx(expected, abs=1e-9)


def test_loudness_changes_snr() -> None:
    speech = noise(1, 500)
    assert float(snr(speech, 0.5 * speech)) == pytest.approx(20 * math.log10(2))
    assert float(si_sdr(speech, 0.5 * speech)) > 99


def test_perfect_and_silent_answers_have_the_limits() -> None:
    speech = noise(2, 500)
    assert float(si_sdr(speech, speech)) == LIMIT_DB
    assert float(snr(speech, speech)) == LIMIT_DB
    assert float(si_sdr(speech, np.zeros(500))) == -LIMIT_DB
    assert float(snr(speech, np.zeros(500))) == 0.0


def test_an_answer_without_any_of_the_speech_has_the_lower_limit() -> None:
    turns = 2 * np.pi * np.arange(1600) / 16
    assert float(si_sdr(np.sin(turns), np.cos(turns))) == -LIMIT_DB


def test_many_at_once_are_each_alone() -> None:
    speech, rest = noise(3, 4, 5, 300), noise(4, 4, 5, 300)
    together = si_sdr(speech, speech + rest)
    assert together.shape == (4, 5)
    assert together[2, 3] == pytest.approx(float(si_sdr(speech[2, 3], (speech + rest)[2, 3])))
    assert snr(speech, speech + rest).shape == (4, 5)


def test_improvement_is_the_difference() -> None:
    turns = 2 * np.pi * np.arange(1600) / 16
    speech, rest = np.sin(turns), np.cos(turns)
    found = improvement(speech, speech + rest, speech + 0.1 * rest)
    assert isinstance(found, float)
    assert found == pytest.approx(20)
    assert improvement(speech, speech + 0.1 * rest, speech + rest) == pytest.approx(-20)
    assert improvement(speech, speech + rest, speech + rest) == 0


def test_float32_sound_is_computed_in_float64() -> None:
    speech = noise(5, 48_000).astype(np.float32)
    heard = (speech + 1e-3 * noise(6, 48_000)).astype(np.float32)
    expected = slow_si_sdr(speech.astype(float).tolist(), heard.astype(float).tolist())
    assert float(si_sdr(speech, heard)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("level", [1e-20, 1e20])
def test_no_level_of_float32_leaves_the_range(level: float) -> None:
    speech, rest = (level * noise(7, 2, 100)).astype(np.float32)
    assert float(snr(speech, speech + rest)) == pytest.approx(
        float(snr(speech / level, (speech + rest) / level)), abs=1e-4
    )


@pytest.mark.parametrize(
    ("reference", "estimate", "reason"),
    [
        ([0.0, 0.0], [0.1, 0.2], "silent"),
        ([0.1, 0.2], [0.1], "the reference is"),
        (0.1, 0.1, "the reference is"),
        ([], [], "no sample"),
        ([0.1, math.nan], [0.1, 0.2], "NaN"),
        ([0.1, 0.2], [0.1, -math.inf], "NaN"),
        ([[0.1, 0.2], [0.0, 0.0]], [[0.1, 0.2], [0.1, 0.2]], "silent"),
    ],
)
def test_what_has_no_ratio_is_refused(reference: object, estimate: object, reason: str) -> None:
    for measure in (si_sdr, snr):
        with pytest.raises(ValueError, match=reason):
            measure(np.array(reference), np.array(estimate))
