"""The cleaning program offline: what it asks a network, what it refuses, and what it answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_repository.programs.common.answers import Settings
from model_repository.programs.voice_cleaning.cleaner import Cleaner
from pipelines.conversion.voice_cleaning.kind import KIND

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

WINDOW, N_FFT, HOP = 640, 64, 16
SHAPE = (WINDOW // HOP + 1, N_FFT // 2 + 1)
COMMON = {"sample_rate": 1600, "window_samples": WINDOW, "input": "heard", "output": "said"}
MASK = COMMON | {"representation": "spectrogram-mask", "n_fft": N_FFT, "hop": HOP, "window": "hann"}
WAVEFORM = COMMON | {"representation": "waveform"}


class Gain:
    """A network that lets the same share of everything pass: of a mask, or of a waveform."""

    def __init__(self, gain: float, *, mask: bool) -> None:
        self._gain, self._mask = gain, mask
        self.batches: list[tuple[int, ...]] = []

    def __call__(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        heard = feed["heard"]
        assert heard.dtype == np.float32
        self.batches.append(heard.shape)
        return {"said": np.full_like(heard, self._gain) if self._mask else heard * self._gain}


def cleaner(folder: Path, values: dict[str, Any], network: Any) -> Cleaner:
    (folder / "enhancement.json").write_text(json.dumps(values))
    return Cleaner(folder, Settings(network=network))


def noise(size: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.2 * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


@pytest.mark.parametrize("values", [MASK, WAVEFORM])
def test_a_batch_is_one_call_and_each_answer_is_as_long_as_its_question(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    network = Gain(0.5, mask=values is MASK)
    questions = [noise(size, size) for size in (1, WINDOW, 333)]
    outcomes = cleaner(tmp_path, values, network).answer(questions, [{}] * 3)
    assert network.batches == [(3, *SHAPE) if values is MASK else (3, WINDOW)]
    for question, outcome in zip(questions, outcomes, strict=True):
        cleaned = outcome.outputs["cleaned"]
        assert cleaned.dtype == np.float32
        assert cleaned.shape == question.shape
        assert np.abs(cleaned - 0.5 * question).max() < 1e-6
        rms = float(np.sqrt(np.mean(question.astype(np.float64) ** 2)))
        assert outcome.outputs["input_rms"] == pytest.approx(rms, rel=1e-6)
        assert outcome.outputs["output_rms"] == pytest.approx(rms / 2, rel=1e-4)
        assert outcome.outputs["attenuation_db"] == pytest.approx(6.0206, abs=1e-3)
        assert outcome.record["empty"] is False


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, WINDOW), min_size=1, max_size=5), st.integers(0, 9))
def test_a_batch_is_each_alone(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int
) -> None:
    def network(feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {"said": feed["heard"] / (0.5 + feed["heard"])}

    one = cleaner(tmp_path_factory.mktemp("variant"), MASK, network)
    questions = [noise(size, seed + at) for at, size in enumerate(sizes)]
    together = one.answer(questions, [{}] * len(sizes))
    for question, outcome in zip(questions, together, strict=True):
        (alone,) = one.answer([question], [{}])
        assert np.array_equal(outcome.outputs["cleaned"], alone.outputs["cleaned"])


def test_outputs_are_those_of_the_interface(tmp_path: Path) -> None:
    (outcome,) = cleaner(tmp_path, MASK, Gain(1, mask=True)).answer([noise(99)], [{}])
    assert set(outcome.outputs) == {one.name for one in KIND.interface.outputs}


def test_silence_is_answered_by_silence(tmp_path: Path) -> None:
    (outcome,) = cleaner(tmp_path, MASK, Gain(0.7, mask=True)).answer(
        [np.zeros(WINDOW, np.float32)], [{}]
    )
    assert not outcome.outputs["cleaned"].any()
    assert outcome.outputs["input_rms"] == outcome.outputs["output_rms"] == 0
    assert outcome.outputs["attenuation_db"] == 0
    assert outcome.record["empty"] is False


def test_a_network_that_mutes_everything_is_noticed(tmp_path: Path) -> None:
    (outcome,) = cleaner(tmp_path, MASK, Gain(0, mask=True)).answer([noise(300)], [{}])
    assert outcome.record["empty"] is True
    assert outcome.outputs["attenuation_db"] > 60


@pytest.mark.parametrize(
    ("waveform", "parameters", "reason"),
    [
        (np.zeros(0, np.float32), {}, "is empty"),
        (np.zeros(WINDOW + 1, np.float32), {}, "at most 640"),
        (np.array([0.1, np.nan], np.float32), {}, "NaN or infinity"),
        (np.array([0.1, np.inf], np.float32), {}, "NaN or infinity"),
        (np.array([32_000], np.float32), {}, "not audio"),
        (np.array([0.1], np.float32), {"sample_rate": 16_000}, "hears 1600 Hz"),
        (np.array([0.1], np.float32), {"sample_rate": "1600"}, ""),
        (np.zeros(WINDOW, np.float32), {}, ""),
    ],
)
def test_refusals(
    tmp_path: Path, waveform: NDArray[np.float32], parameters: dict[str, Any], reason: str
) -> None:
    one = cleaner(tmp_path, MASK, Gain(1, mask=True))
    found = one.refusal(waveform, parameters)
    assert reason in found
    assert bool(found) == bool(reason)
    assert one.describe(waveform)["duration_s"] == waveform.size / 1600


def test_what_is_heard_is_described(tmp_path: Path) -> None:
    described = cleaner(tmp_path, MASK, Gain(1, mask=True)).describe(noise(600))
    assert described["rms"] == pytest.approx(0.2, rel=0.1)
    assert set(described) == {"sample_rate", "duration_s", "rms", "speech_ratio", "snr_db"}


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (np.full((1, *SHAPE), np.nan, np.float32), "NaN or infinity"),
        (np.full((1, *SHAPE), np.inf, np.float32), "NaN or infinity"),
        (np.zeros((1, 3, 3), np.float32), r"answered \(1, 3, 3\)"),
    ],
)
def test_a_sick_network_is_an_error_of_the_engine(
    tmp_path: Path, output: NDArray[np.float32], reason: str
) -> None:
    one = cleaner(tmp_path, MASK, lambda _: {"said": output})
    with pytest.raises(RuntimeError, match=reason):
        one.answer([noise(100)], [{}])


def test_without_a_network_nothing_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none was given"):
        cleaner(tmp_path, MASK, None)
