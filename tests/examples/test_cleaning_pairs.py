"""Noisy and clean pairs: at the stated levels, voices of their own."""

from __future__ import annotations

import hashlib
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speech.dataset import folder_digest
from speech.speakers import evaluation_speakers, live_speakers, training_voices
from voice_cleaning.noises import KINDS, make_noise, mix
from voice_cleaning.pairs import pair_set

from validation.dataset import Dataset
from validation.enhancement import si_sdr

GRID = Path(__file__).resolve().parents[2] / "examples" / "grid"
SETS = ("cleaning-evaluation", "cleaning-calibration")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def samples_of(path: Path) -> np.ndarray:
    with wave.open(str(path)) as clip:
        assert (clip.getframerate(), clip.getnchannels(), clip.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(clip.readframes(clip.getnframes()), "<i2").astype(np.float64)


@pytest.mark.parametrize(
    ("name", "count", "speakers"),
    [("cleaning-evaluation", 192, 24), ("cleaning-calibration", 128, 8)],
)
def test_a_gate_can_read_it(data: Path, name: str, count: int, speakers: int) -> None:
    dataset = Dataset.load(data / name)
    assert (dataset.name, dataset.kind) == (name, "noisy-speech")
    assert dataset.sha256 == folder_digest(data / name)
    assert len(dataset.utterances) == count
    assert len({one.columns["speaker"] for one in dataset.utterances}) == speakers
    for one in dataset.utterances:
        assert {"speaker", "snr", "noise", "accent"} <= set(one.columns)
        assert dataset.clean(one).shape == dataset.question(one).shape


@pytest.mark.parametrize("name", SETS)
def test_noise_has_the_level_that_the_manifest_says(data: Path, name: str) -> None:
    for row in rows_of(data / name):
        clean = samples_of(data / name / row["clean_filepath"])
        noisy = samples_of(data / name / row["audio_filepath"])
        assert clean.size == noisy.size == round(row["duration"] * 16_000) <= 48_000
        ratio = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
        # Clipping a rare peak takes some of the noise away.
        assert ratio == pytest.approx(float(row["snr"].removesuffix("dB")), abs=0.1)
        assert float(si_sdr(clean, noisy)) == pytest.approx(ratio, abs=0.8)


def test_each_noise_meets_each_level_and_accent_equally_often(data: Path) -> None:
    rows = rows_of(data / "cleaning-evaluation")
    met = [(row["noise"], row["snr"]) for row in rows]
    assert {met.count(one) for one in set(met)} == {16}
    assert set(met) == {(noise, snr) for noise in KINDS for snr in ("0dB", "5dB", "10dB")}
    accents = [row["accent"] for row in rows]
    assert {accents.count(one) for one in set(accents)} == {24}


def test_nobody_is_in_two_sets_or_in_the_training(data: Path) -> None:
    names = [{row["speaker"] for row in rows_of(data / name)} for name in SETS]
    assert not names[0] & names[1]
    assert names[0] | names[1] == {speaker.name for speaker in evaluation_speakers()}
    voices = {
        (one.accent, one.timbre)
        for name in SETS
        for one in pair_set(name.removeprefix("cleaning-")).speakers
    }
    assert not voices & set(training_voices())
    assert not voices & {(one.accent, one.timbre) for one in live_speakers()}


def test_no_recording_is_in_two_sets(data: Path) -> None:
    names = (*SETS, "evaluation", "live")
    clips = [path.read_bytes() for name in names for path in (data / name).rglob("*.wav")]
    assert len({hashlib.sha256(clip).digest() for clip in clips}) == len(clips)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 6000), st.integers(0, 2**32 - 1))
def test_noises_are_long_enough_and_drawn_anew(kind: Any, count: int, seed: int) -> None:
    talkers = [np.arange(1, 900, dtype=np.int16), np.full(50, -300, np.int16)]
    first, second = (
        make_noise(kind, count, talkers, np.random.Generator(np.random.PCG64(seed)))
        for _ in range(2)
    )
    assert first.shape == (count,)
    assert first.dtype == np.int64
    assert np.array_equal(first, second)


def test_noises_sound_as_they_are_named() -> None:
    """Share of the energy below 500 Hz."""
    random = np.random.Generator(np.random.PCG64(1))
    talkers = [random.integers(-9000, 9000, 20_000).astype(np.int16) for _ in range(5)]
    low = {}
    for kind in KINDS:
        power = np.abs(np.fft.rfft(make_noise(kind, 32_000, talkers, random))) ** 2
        low[kind] = float(power[1:1000].sum() / power[1:].sum())
    assert low["hiss"] < 0.2
    assert low["rumble"] > 0.8
    assert low["hum"] > 0.8


def test_a_mix_that_is_too_loud_is_clipped() -> None:
    random = np.random.Generator(np.random.PCG64(2))
    clip = np.full(1000, 16_000, np.int16)
    mixed = mix(clip, make_noise("hiss", 1000, [], random), -20)
    assert mixed.dtype == np.int16
    assert {int(mixed.min()), int(mixed.max())} == {-32_768, 32_767}
