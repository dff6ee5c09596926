"""Word error rates of a lip-reader on a split, by light. Runs in the `keras` environment."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lip_reading.network import BLANK, TOKENS, WORD_DELIMITER
from recogniser.words import word_errors

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

_AT_ONCE = 16


@dataclass(frozen=True)
class Score:
    """Errors against words of the reference, over `clips`."""

    clips: int
    words: int
    errors: int

    @property
    def rate(self) -> float:
        """Word error rate."""
        return self.errors / self.words


def score(network: keras.Model, split: Path) -> dict[str, Score]:
    """Scores of a split's clips: "all", and each light by its name."""
    rows = [json.loads(line) for line in (split / "manifest.jsonl").read_text().splitlines()]
    counted: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        clips = np.stack([_frames(split / row["video_filepath"]) for row in part])
        said = transcripts(np.asarray(network.predict_on_batch(clips)))
        for row, text in zip(part, said, strict=True):
            result = (len(row["text"].split()), word_errors(row["text"], text))
            counted["all"].append(result)
            counted[row["light"]].append(result)
    return {
        name: Score(len(results), *map(sum, zip(*results, strict=True)))
        for name, results in sorted(counted.items())
    }


def transcripts(probabilities: NDArray[np.float32]) -> list[str]:
    """Greedy CTC decoding of probabilities [B, T, tokens]."""
    texts = []
    for path in probabilities.argmax(-1):
        kept = path[np.flatnonzero(np.diff(path, prepend=BLANK) * (path != BLANK))]
        text = "".join(TOKENS[token] for token in kept)
        texts.append(text.replace(WORD_DELIMITER, " ").strip())
    return texts


def _frames(path: Path) -> NDArray[np.float32]:
    with np.load(path) as clip:
        scaled: NDArray[np.float32] = clip["frames"][..., None] / np.float32(255)
    return scaled
