"""How much a checkpoint cleans: SI-SDR of a set of pairs before and after, with ONNX Runtime.

SI-SDR is that of Le Roux, Wisdom, Erdogan, Hershey, "SDR - half-baked or well done?", ICASSP 2019:
with s the clean speech and a = <x, s> / <s, s>, 10 log10(|a s|^2 / |a s - x|^2).
"""

from __future__ import annotations

import json
import wave
from typing import TYPE_CHECKING

import numpy as np
import torch

from voice_cleaning.transform import sound_of, spectrum

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def score_checkpoint(folder: Path, dataset: Path, every: int = 1) -> dict[str, tuple[float, float]]:
    """Return mean SI-SDR in dB, noisy and cleaned, by slice: "all", each level and each noise.

    One of `every` pairs is scored.
    """
    import onnxruntime

    torch.set_num_threads(1)
    options = onnxruntime.SessionOptions()
    # One clip at a time is little work: on a busy machine more threads mostly wait.
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options)
    window = json.loads((folder / "enhancement.json").read_text())["window_samples"]
    rows = [json.loads(line) for line in (dataset / "manifest.jsonl").read_text().splitlines()]
    rows = rows[::every]
    scores = []
    for row in rows:
        clean = read_wave(dataset / row["clean_filepath"])
        noisy = read_wave(dataset / row["audio_filepath"])
        padded = torch.from_numpy(np.pad(noisy, (0, window - noisy.size)))[None]
        turned = spectrum(padded)
        (mask,) = session.run(None, {"magnitude": turned.abs().numpy()})
        found = sound_of(turned * torch.from_numpy(mask), window)[0, : noisy.size].numpy()
        scores.append((si_sdr(noisy, clean), si_sdr(found, clean)))
    return {
        name: (float(part[0]), float(part[1]))
        for name, chosen in _slices(rows).items()
        for part in [np.mean([scores[index] for index in chosen], axis=0)]
    }


def si_sdr(found: NDArray[np.float32], clean: NDArray[np.float32]) -> float:
    """Return the scale-invariant signal-to-distortion ratio of float32 [n] in dB."""
    x, s = found.astype(np.float64), clean.astype(np.float64)
    target = (x @ s) / (s @ s) * s
    return float(10 * np.log10((target @ target) / ((target - x) @ (target - x))))


def read_wave(path: Path) -> NDArray[np.float32]:
    """Return the samples [n] of a mono 16-bit WAV file, in [-1, 1]."""
    with wave.open(str(path), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return samples.astype(np.float32) / np.float32(32_768)


def _slices(rows: list[dict[str, str]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {"all": list(range(len(rows)))}
    for column in ("snr", "noise"):
        for index, row in enumerate(rows):
            found.setdefault(row[column], []).append(index)
    return found
