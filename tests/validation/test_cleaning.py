"""Cleaned sound is measured by the formulas and packages that are named, or fails with a reason."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pystoi import stoi as pystoi

from registry.errors import UserError
from validation.answers import Answer, encode_samples
from validation.cleaning import measured, measured_by
from validation.dataset import Dataset
from validation.enhancement import si_sdr, snr
from validation.intelligibility import LEAST_PESQ, pesq, stoi

from .conftest import SetOnDisk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Pair = Callable[[np.ndarray, np.ndarray], Dataset]

RATE = 16000
needs_pesq = pytest.mark.skipif(
    importlib.util.find_spec("pesq") is None,
    reason="PESQ is optional and not here: python -m pip install pesq==0.0.4 (needs gcc)",
)


def speechlike(seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    """Voiced bursts that come and go as syllables do, float32."""
    times = np.arange(int(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * 140 * part * times) / part for part in range(1, 16))
    syllables = np.clip(np.sin(2 * np.pi * 3 * times), 0, None)
    return (0.1 * voice * syllables).astype(np.float32)


def noise(size: int, level: float = 0.02) -> np.ndarray:
    return (level * np.random.default_rng(7).standard_normal(size)).astype(np.float32)


@pytest.fixture
def pair(tmp_path: Path) -> Callable[[np.ndarray, np.ndarray], Dataset]:
    """A set of one recording, u0, on disk."""

    def make(clean: np.ndarray, noisy: np.ndarray) -> Dataset:
        disk = SetOnDisk(tmp_path / "set")
        shutil.rmtree(disk.folder / "audio")
        (disk.folder / "audio").mkdir()
        for name, sound in (("clean", clean), ("noisy", noisy)):
            samples = np.clip(np.rint(sound * 32768), -32768, 32767)
            disk.write_clip(name, samples.astype(np.int16))
        row = {"id": "u0", "duration": clean.size / RATE, "speaker": "a"}
        row |= {"audio_filepath": "audio/noisy.wav", "clean_filepath": "audio/clean.wav"}
        disk.rows = [row]
        disk.write_manifest()
        disk.seal(kind="noisy-speech")
        return Dataset.load(disk.folder)

    return make


def measure(dataset: Dataset, given: Answer) -> Answer:
    return measured(dataset, dataset.utterances[0], given)


def answer(sound: np.ndarray, **signals: float) -> Answer:
    return Answer("u0", "", signals, samples=encode_samples(sound))


def test_signals_are_the_formulas(pair: Pair) -> None:
    sound = speechlike()
    noisy, heard = sound + noise(sound.size), sound + noise(sound.size, 0.005)
    dataset = pair(sound, noisy)
    found = measure(dataset, answer(heard, load=2.0))
    (utterance,) = dataset.utterances
    clean, noisy = dataset.clean(utterance), dataset.question(utterance)
    stored = answer(heard).waveform
    assert not found.failed
    assert found.signals["load"] == 2.0
    expected = float(si_sdr(clean, stored) - si_sdr(clean, noisy))
    assert found.signals["si_sdr_improvement"] == pytest.approx(expected)
    assert found.signals["si_sdr_improvement"] == pytest.approx(12, abs=0.3)
    expected = float(snr(clean, stored) - snr(clean, noisy))
    assert found.signals["snr_improvement"] == pytest.approx(expected)
    assert found.signals["stoi"] == pytest.approx(pystoi(clean, stored, RATE))
    ratio = found.signals["noise_after"] / found.signals["noise_before"]
    assert 10 * np.log10(ratio) == pytest.approx(-found.signals["snr_improvement"], abs=1e-3)


@needs_pesq
@pytest.mark.parametrize(("rate", "mode"), [(8000, "nb"), (16000, "wb")])
def test_pesq_is_the_packages(rate: int, mode: str) -> None:
    from pesq import pesq as model

    clean = speechlike(rate=rate)
    heard = clean + noise(clean.size, 0.005)
    found = pesq(clean, heard, rate)
    assert found == pytest.approx(float(model(rate, clean, heard, mode)))
    worse, perfect = pesq(clean, clean + noise(clean.size, 0.05), rate), pesq(clean, clean, rate)
    assert found is not None
    assert worse is not None
    assert perfect is not None
    assert LEAST_PESQ < worse < found < perfect


@needs_pesq
def test_pesq_of_what_is_no_speech() -> None:
    clean = speechlike()
    assert pesq(clean, np.zeros_like(clean), RATE) == LEAST_PESQ
    assert pesq(clean, clean, 44100) is None
    assert pesq(clean[:3000], clean[:3000], RATE) is None
    assert pesq(np.zeros_like(clean), clean, RATE) is None


def test_without_the_package_there_is_no_pesq(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    clean = speechlike()
    found = measure(pair(clean, clean + noise(clean.size)), answer(clean))
    assert "pesq" not in found.signals
    assert not found.failed


def test_stoi_of_too_little_is_none() -> None:
    clean = speechlike()
    assert stoi(clean, np.zeros_like(clean), RATE) == 0
    assert stoi(clean[:4000], clean[:4000], RATE) is None
    with pytest.warns(RuntimeWarning, match="Not enough STFT frames"):
        assert pystoi(clean[:4000], clean[:4000], RATE) == 1e-5


def test_another_length_and_silence_are_told(pair: Pair) -> None:
    clean = speechlike()
    noisy = clean + noise(clean.size)
    dataset = pair(clean, noisy)
    short = measure(dataset, answer(clean[:-5]))
    assert short.error == f"the answer has {clean.size - 5} samples instead of {clean.size}"
    assert set(short.signals) == {"noise_before"}
    silent = measure(dataset, answer(np.zeros_like(clean)))
    assert not silent.failed
    assert silent.signals["si_sdr_improvement"] < -90
    assert silent.signals["noise_after"] == pytest.approx(1)
    failed = measure(dataset, replace(answer(clean), error="no"))
    assert (failed.error, set(failed.signals)) == ("no", {"noise_before"})


def test_a_silent_clean_recording_is_refused(pair: Pair) -> None:
    nothing = np.zeros(32000, np.float32)
    with pytest.raises(UserError, match="clean recording of 'u0' is silent"):
        measure(pair(nothing, noise(32000)), answer(nothing))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_sound_that_is_none_is_never_stored(number: float) -> None:
    sound = speechlike()
    sound[100] = number
    with pytest.raises(ValueError, match="NaN or infinity"):
        encode_samples(sound)


def test_what_measures_is_named() -> None:
    assert "stoi:0." in measured_by()
    assert "pesq:" in measured_by()
