"""Resampling, noise and word counting, each against a reference."""

from __future__ import annotations

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recogniser.words import word_errors
from speech.grammar import SLOTS, WORDS, sentence, spoken
from speech.noise import add_noise
from speech.synthesis import SAMPLE_RATE, SynthesisError, Voice, normalise, resample, synthesise

SENTENCES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)


@pytest.mark.parametrize("hertz", [120, 440, 3_000, 6_000])
def test_a_tone_keeps_its_level_and_pitch(hertz: int) -> None:
    tone = np.rint(8_000 * np.sin(2 * np.pi * hertz * np.arange(22_050) / 22_050))
    resampled = resample(tone.astype(np.int16))
    assert resampled.size == SAMPLE_RATE
    reference = 8_000 * np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000)
    inner = slice(200, -200)
    assert np.abs(resampled[inner] - reference[inner]).max() < 40


def test_a_tone_above_the_new_limit_is_gone() -> None:
    tone = np.rint(8_000 * np.sin(2 * np.pi * 9_500 * np.arange(22_050) / 22_050))
    assert np.abs(resample(tone.astype(np.int16))[200:-200]).max() < 80


@given(st.lists(st.integers(-30_000, 30_000), min_size=1, max_size=50).filter(any))
def test_the_loudest_sample_becomes_half_of_full_scale(samples: list[int]) -> None:
    scaled = normalise(np.array(samples, dtype=np.int64))
    assert int(np.abs(scaled.astype(int)).max()) == 16_000


@given(st.floats(0, 30), st.integers(0, 2**32 - 1))
def test_noise_has_the_stated_level(decibels: float, seed: int) -> None:
    clip = np.rint(4_000 * np.sin(np.arange(16_000) / 9)).astype(np.int16)
    noisy = add_noise(clip, decibels, np.random.Generator(np.random.PCG64(seed)))
    difference = noisy.astype(np.float64) - clip
    measured = 10 * np.log10(np.mean(clip.astype(np.float64) ** 2) / np.mean(difference**2))
    assert measured == pytest.approx(decibels, abs=0.05)


def test_sentences_follow_the_grammar() -> None:
    random = np.random.Generator(np.random.PCG64(3))
    for _ in range(200):
        words = sentence(random).split()
        assert all(word in slot for word, slot in zip(words, SLOTS, strict=True))


def test_only_the_letter_a_is_respelt() -> None:
    assert spoken("lay red at a two again") == "lay red at [[eI]] two again"


@given(SENTENCES, SENTENCES)
def test_word_errors_are_those_of_jiwer(reference: str, hypothesis: str) -> None:
    counted = jiwer.process_words(reference, hypothesis)
    expected = counted.substitutions + counted.deletions + counted.insertions
    assert word_errors(reference, hypothesis) == expected


def test_no_words_are_as_many_errors_as_the_reference_has_words() -> None:
    assert word_errors("bin blue at f two now", "") == 6


def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(SynthesisError, match="no voice gmw/en-XX"):
        synthesise("now", Voice("gmw/en-XX+m1", 170, 50, 50))


def test_silence_is_refused() -> None:
    with pytest.raises(SynthesisError, match="said nothing"):
        synthesise("", Voice("gmw/en-US+m1", 170, 50, 50))
