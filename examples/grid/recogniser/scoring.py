"""Word error rate of a checkpoint folder, with Transformers' own feature extractor and generate.

The folder is read as a stranger would read it, so the figure speaks for the files.
"""

from __future__ import annotations

import json
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from recogniser.words import word_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_BATCH = 64


@dataclass(frozen=True)
class Score:
    """Word errors over `words` reference words of `clips` clips."""

    errors: int
    words: int
    clips: int

    @property
    def rate(self) -> float:
        """Word error rate: substitutions, deletions and insertions over reference words."""
        return self.errors / self.words


def score_checkpoint(folder: Path, dataset: Path) -> dict[str, Score]:
    """Score `folder` on the clips of `dataset` that its window can hold.

    Returns scores by slice: "all", and each value of the manifest's `noise` and `rate`.
    """
    window = json.loads((folder / "preprocessor_config.json").read_text())["chunk_length"]
    rows = [json.loads(line) for line in (dataset / "manifest.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["duration"] <= window]
    said = transcribe(folder, [read_wave(dataset / row["audio_filepath"]) for row in rows])
    errors = [word_errors(row["text"], text) for row, text in zip(rows, said, strict=True)]
    scores = {}
    for name in ("all", "clean", "noisy", "normal", "slow"):
        chosen = [i for i, row in enumerate(rows) if name in ("all", row["noise"], row["rate"])]
        if chosen:
            words = sum(len(rows[i]["text"].split()) for i in chosen)
            scores[name] = Score(sum(errors[i] for i in chosen), words, len(chosen))
    return scores


def transcribe(folder: Path, clips: Sequence[NDArray[np.float32]]) -> list[str]:
    """Return greedy transcripts of 16 kHz float32 clips [n] in [-1, 1]."""
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    processor = WhisperProcessor.from_pretrained(folder)
    texts: list[str] = []
    for start in range(0, len(clips), _BATCH):
        batch = list(clips[start : start + _BATCH])
        features = processor.feature_extractor(batch, sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            ids = model.generate(features.input_features)
        texts += [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)]
    return texts


def read_wave(path: Path) -> NDArray[np.float32]:
    """Return the samples [n] of a mono 16-bit WAV file, in [-1, 1]."""
    with wave.open(str(path), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return samples.astype(np.float32) / np.float32(32_768)
