from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_repository.programs.common.features import LogMel

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SMALL = LogMel(
    sample_rate=1600,
    window_samples=640,
    n_fft=40,
    hop_length=16,
    filters=np.abs(np.random.default_rng(1).standard_normal((21, 5))).astype(np.float32),
)
FROM_TRANSFORMERS = """
import sys
import numpy as np
from transformers import WhisperFeatureExtractor
extractor = WhisperFeatureExtractor.from_pretrained(sys.argv[1])
sounds = np.load(sys.argv[2])
waveforms = [sounds[name] for name in sounds.files]
found = extractor(waveforms, sampling_rate=16000, return_tensors="np").input_features
padded = np.stack([np.pad(w, (0, extractor.n_samples - w.size)) for w in waveforms])
exact = extractor._np_extract_fbank_features(padded, "cpu")
np.savez(sys.argv[3], found=found, exact=exact)
"""


def straight_from_the_definition(waveform: NDArray[np.float32], mel: LogMel) -> NDArray[Any]:
    padded = np.pad(waveform.astype(np.float64), (0, mel.window_samples - waveform.size))
    padded = np.pad(padded, mel.n_fft // 2, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(mel.n_fft) / mel.n_fft)
    starts = range(0, mel.window_samples, mel.hop_length)
    frames = np.stack([padded[start : start + mel.n_fft] * hann for start in starts])
    power = np.abs(np.fft.rfft(frames)) ** 2
    logarithm = np.log10(np.maximum(mel.filters.T.astype(np.float64) @ power.T, 1e-10))
    return np.asarray((np.maximum(logarithm, logarithm.max() - 8) + 4) / 4)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, SMALL.window_samples), min_size=1, max_size=4),
    level=st.sampled_from([1e-6, 1e-3, 1.0]),
    seed=st.integers(0, 1000),
)
def test_equals_the_definition_at_any_length(lengths: list[int], level: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    sounds = [(level * random.standard_normal(n)).astype(np.float32) for n in lengths]
    expected = np.stack([straight_from_the_definition(sound, SMALL) for sound in sounds])
    found = SMALL(sounds)
    assert found.dtype == np.float32
    assert found.shape == (len(lengths), 5, 40)
    assert np.abs(found - expected).max() < 2e-5


def test_batch_is_each_alone() -> None:
    random = np.random.default_rng(0)
    sounds = [random.standard_normal(n).astype(np.float32) for n in (640, 3, 200)]
    together = SMALL(sounds)
    for row, sound in zip(together, sounds, strict=True):
        assert np.array_equal(row, SMALL([sound])[0])


def test_silence_is_finite() -> None:
    assert np.allclose(SMALL([np.zeros(640, np.float32)]), (-10 + 4) / 4)


def test_load_reads_what_the_conversion_wrote(tmp_path: Path) -> None:
    np.save(tmp_path / "filters.npy", SMALL.filters)
    values = {"sample_rate": 1600, "window_samples": 640, "n_fft": 40, "hop_length": 16}
    (tmp_path / "preprocessor.json").write_text(json.dumps(values | {"filters": "filters.npy"}))
    loaded = LogMel.load(tmp_path)
    sound = np.ones(100, np.float32)
    assert np.array_equal(loaded([sound]), SMALL([sound]))


@pytest.mark.engine
def test_equals_transformers(
    variants: dict[str, Any], tiny: Path, checkpoints: Any, tmp_path: Path
) -> None:
    random = np.random.default_rng(3)
    time = np.arange(40_000) / 16_000
    sounds = {
        f"noise-{n}": (0.1 * random.standard_normal(n) * np.exp(-np.arange(n) / 8000))
        for n in (1, 2, 159, 160, 200, 399, 400, 16_000, 47_799, 47_800, 47_900, 48_000)
    }
    sounds |= {"silence": np.zeros(100), "tone": np.sin(3000 * time)}
    sounds |= {"tone-and-noise": np.sin(3000 * time) + 1e-4 * random.standard_normal(time.size)}
    waveforms = {name: sound.astype(np.float32) for name, sound in sounds.items()}
    np.savez(tmp_path / "sounds.npz", *waveforms.values())
    script = tmp_path / "extract.py"
    script.write_text(FROM_TRANSFORMERS)
    paths = (tiny, tmp_path / "sounds.npz", tmp_path / "features.npz")
    checkpoints.run_converter(script, *map(str, paths))
    found = LogMel.load(variants["onnx-fp32"].folder)(list(waveforms.values()))
    with np.load(tmp_path / "features.npz") as theirs:
        # Their path through PyTorch transforms in float32; their own NumPy path does not.
        assert np.abs(found - theirs["found"]).max() < 1e-4
        assert np.abs(found - theirs["exact"]).max() < 1e-6
