"""Word error rate of a CTC folder, read as a stranger would read it, in float32 PyTorch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from transformers import WhisperFeatureExtractor

from ctc_speech.network import WhisperForCTC
from ctc_speech.vocabulary import read
from recogniser.scoring import Score, read_wave
from recogniser.words import word_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_BATCH = 64
SLICES = ("all", "clean", "noisy", "normal", "slow")


def score_network(folder: Path, dataset: Path) -> dict[str, Score]:
    """Score `folder` on `dataset`: by slice, "all" and the manifest's `noise` and `rate`."""
    rows = [json.loads(line) for line in (dataset / "manifest.jsonl").read_text().splitlines()]
    said = transcribe(folder, [read_wave(dataset / row["audio_filepath"]) for row in rows])
    scores = {}
    for name in SLICES:
        chosen = [
            (row["text"], text)
            for row, text in zip(rows, said, strict=True)
            if name in ("all", row["noise"], row["rate"])
        ]
        if chosen:
            errors = sum(word_errors(*pair) for pair in chosen)
            words = sum(len(text.split()) for text, _ in chosen)
            scores[name] = Score(errors, words, len(chosen))
    return scores


def transcribe(folder: Path, clips: Sequence[NDArray[np.float32]]) -> list[str]:
    """Return the greedy transcripts of 16 kHz float32 clips [n] in [-1, 1]."""
    network = WhisperForCTC.from_pretrained(folder, dtype="float32").eval()
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    texts: list[str] = []
    for start in range(0, len(clips), _BATCH):
        batch = list(clips[start : start + _BATCH])
        features = extractor(batch, sampling_rate=16_000, return_tensors="pt").input_features
        with torch.inference_mode():
            chosen = network(features).argmax(-1)
        texts += [read(frames) for frames in chosen.tolist()]
    return texts
