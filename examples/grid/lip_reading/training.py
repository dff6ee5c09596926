"""Trains the lip-reader: first frame by frame on the words' times, then with the CTC loss.

CTC alone stays for thousands of steps where it knows the grammar and looks at nothing (a loss of
10.7, the sentences' entropy). A short start on alignments, which the GRID corpus has too, shows it
where to look. A clip changes a little each time: mirrored, shifted, brighter or darker; a mouth
says the same whichever way it is filmed. Runs in the `keras` environment.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from lip_reading.network import BLANK, TOKENS, WORD_DELIMITER, with_logits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_SHIFT = 2  # pixels either way
_GAIN = (0.75, 1.25)
_ALIGNED_RATE, _CTC_RATE = 3e-3, 1.5e-3


class Clips:
    """Training clips: `frames` [N, 75, 46, 140], `tokens` [N, 6], and the token of each frame."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as clips:
            self.frames: NDArray[np.uint8] = clips["frames"]
            words, texts = clips["words"].astype(np.int64), clips["texts"].tolist()
        ids = {token: number for number, token in enumerate(TOKENS)}
        spelt = [[ids[WORD_DELIMITER + word] for word in text.split()] for text in texts]
        self.tokens = np.array(spelt, np.int32)
        seen = np.take_along_axis(self.tokens, np.maximum(words, 0), axis=1)
        self.aligned = np.where(words >= 0, seen, BLANK)


class Batches(keras.utils.PyDataset):
    """Batches of clips as float32 [B, 75, 46, 140, 1], each with its row of `targets`."""

    def __init__(
        self, clips: Clips, targets: NDArray[np.int32], batch: int, steps: int, seed: int
    ) -> None:
        super().__init__()
        self._clips, self._targets = clips.frames, targets
        self._random = np.random.default_rng(seed)
        self._batch, self._steps = batch, steps
        epochs = -(-batch * steps // len(targets))
        order = [self._random.permutation(len(targets)) for _ in range(epochs)]
        self._order = np.concatenate(order)

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Batch number `index`."""
        chosen = self._order[index * self._batch : (index + 1) * self._batch]
        clips = np.stack([self._changed(self._clips[number]) for number in chosen])
        return clips[..., None], self._targets[chosen]

    def _changed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        down, right = self._random.integers(-_SHIFT, _SHIFT + 1, size=2)
        frames = np.roll(frames, (down, right), axis=(1, 2))
        if self._random.random() < 0.5:
            frames = frames[:, :, ::-1]
        gain = self._random.uniform(*_GAIN) / 255
        return np.minimum(frames * np.float32(gain), np.float32(1))


@dataclass(frozen=True)
class Schedule:
    """Steps on alignments, then with CTC, of `batch` clips each."""

    aligned_steps: int
    ctc_steps: int
    batch: int
    seed: int


def train(
    network: keras.Model, clips: Clips, schedule: Schedule, say: Callable[[str], None]
) -> None:
    """Fit `network` to the clips, saying how it goes."""
    model = with_logits(network)
    aligned = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    batch, seed = schedule.batch, schedule.seed
    stages = (
        ("aligned", aligned, clips.aligned, _ALIGNED_RATE, schedule.aligned_steps, 0.4),
        ("CTC", keras.losses.CTC(), clips.tokens, _CTC_RATE, schedule.ctc_steps, 0.01),
    )
    for number, (name, loss, targets, rate, steps, last) in enumerate(stages):
        rates = keras.optimizers.schedules.CosineDecay(
            rate / 20,
            steps - steps // 15,
            alpha=last,
            warmup_target=rate,
            warmup_steps=steps // 15,
        )
        model.compile(keras.optimizers.AdamW(rates, weight_decay=1e-3, global_clipnorm=5.0), loss)
        model.fit(
            Batches(clips, targets, batch, steps, seed + number),
            epochs=1,
            shuffle=False,
            verbose=0,
            callbacks=[_Progress(name, steps, say)],
        )


class _Progress(keras.callbacks.Callback):
    """Says the mean loss of the last steps, about ten times."""

    def __init__(self, name: str, steps: int, say: Callable[[str], None]) -> None:
        super().__init__()
        self._name, self._every, self._say = name, max(1, steps // 10), say
        self._sum, self._seen, self._started = 0.0, 0, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Keras's loss is the mean since the epoch began; the last steps' follows from two."""
        done = batch + 1
        if done % self._every or not logs:
            return
        total = logs["loss"] * done
        loss = (total - self._sum) / (done - self._seen)
        self._sum, self._seen = total, done
        seconds = time.monotonic() - self._started
        self._say(f"{self._name} step {done}: loss {loss:.3f}, {seconds:.0f} s")
