from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repository.programs.common.audio import measure
from model_repository.programs.common.quality import compression_ratio, is_looping

RANDOM = np.random.default_rng(0)


def test_compression_ratio() -> None:
    text = "bin blue at f two now " * 20
    assert compression_ratio(text) == len(text) / len(zlib.compress(text.encode()))
    assert compression_ratio(text) > 2.4 > compression_ratio("bin blue at f two now")
    assert compression_ratio("") == 0.0
    assert compression_ratio("é") == 2 / len(zlib.compress("é".encode()))


@pytest.mark.parametrize(
    ("tokens", "looping"),
    [
        ((), False),
        ((1, 2, 3, 4, 5, 6), False),
        ((1, 1, 1), False),
        ((1, 1, 1, 1, 1, 1), True),
        ((7, 8, 9, 1, 2, 1, 2, 1, 2), True),
        ((1, 2, 1, 2, 1, 2, 9), False),
        ((1, 2, 3, 4, 5, 6, 7, 8) * 3, True),
        ((1, 2, 3, 4, 5, 6, 7, 8) * 2, False),
    ],
)
def test_looping(tokens: tuple[int, ...], looping: bool) -> None:
    assert is_looping(tokens) is looping
    assert is_looping(list(tokens)) is looping


@given(
    st.lists(st.integers(0, 3), max_size=30), st.lists(st.integers(0, 9), min_size=2, max_size=8)
)
def test_a_phrase_said_often_enough_is_a_loop(before: list[int], phrase: list[int]) -> None:
    assert is_looping(before + phrase * 3)


def test_level_of_speech_over_noise() -> None:
    sound = 0.001 * RANDOM.standard_normal(16_000)
    sound[4_000:12_000] += 0.1 * RANDOM.standard_normal(8_000)
    found = measure(sound.astype(np.float32), 16_000)
    assert found.speech_ratio == pytest.approx(0.5, abs=0.03)
    assert found.snr_db == pytest.approx(40, abs=2)
    assert found.rms == pytest.approx(np.sqrt(np.mean(sound**2)), rel=1e-4)


def test_level_follows_the_volume_alone() -> None:
    sound = (0.1 * RANDOM.standard_normal(16_000)).astype(np.float32)
    loud, quiet = measure(sound, 16_000), measure(sound / np.float32(10), 16_000)
    assert loud.rms == pytest.approx(10 * quiet.rms, rel=1e-4)
    assert loud.snr_db == pytest.approx(quiet.snr_db, abs=0.01)


@pytest.mark.parametrize("size", [1, 5, 320, 321, 48_000])
def test_silence_and_short_sounds_are_finite(size: int) -> None:
    silent = measure(np.zeros(size, np.float32), 16_000)
    assert (silent.rms, silent.speech_ratio, silent.snr_db) == (0, 0, 0)
    short = measure(np.ones(size, np.float32), 16_000)
    assert np.isfinite([short.rms, short.speech_ratio, short.snr_db]).all()
