"""Training batches: clips placed in a window, with noise, as log-mel features.

A batch of normal clips is heard through a window of random length from the short one to
the full one, so that one model works in both: how much silence follows a sentence must
not matter. Features are those of WhisperFeatureExtractor, computed a batch at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from recogniser import tokenizer as tokens
from recogniser.checkpoint import HOP, feature_extractor
from speech.dataset import FULL_WINDOW, SHORT_WINDOW
from speech.synthesis import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from transformers import WhisperTokenizerFast

_POSITION = 2 * HOP  # samples of one encoder position
_SPEECHLESS = 0.03  # share of clips whose speech is taken away
_NOISY = 0.6  # share of clips that get noise
_DECIBELS = (6.0, 35.0)
_LEVELS = (-14.0, 3.0)  # decibels by which a clip is made louder
_LATEST = SAMPLE_RATE // 5  # the latest start of speech, in samples
_IGNORED = -100  # the loss's sign for "any token"
_MEL = feature_extractor(FULL_WINDOW)


@dataclass(frozen=True)
class Batch:
    """`features` float32 [clips, mel bins, frames]; `prompt` and `labels` int64 [clips, tokens]."""

    features: torch.Tensor
    prompt: torch.Tensor
    labels: torch.Tensor


class TrainingClips:
    """Clips in memory, drawn into batches; every epoch sounds different."""

    def __init__(self, path: Path, tokenizer: WhisperTokenizerFast, seed: int) -> None:
        """Read an .npz of `speech.training`; `seed` decides order, noise and windows."""
        with np.load(path) as stored:
            ends = np.cumsum(stored["lengths"])
            self._clips = np.split(stored["samples"], ends[:-1])
            texts = [str(text) for text in stored["texts"]]
        self._random = np.random.default_rng(seed)
        self._id_of = tokenizer.convert_tokens_to_ids
        self._tokens = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
        short = SHORT_WINDOW * SAMPLE_RATE - _POSITION
        self._short = [i for i, clip in enumerate(self._clips) if clip.size <= short]
        self._long = [i for i, clip in enumerate(self._clips) if clip.size > short]

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield batches of `size` clips for ever, each clip once an epoch."""
        while True:
            groups = self._cut(self._short, size) + self._cut(self._long, size)
            for position in self._random.permutation(len(groups)):
                yield self._batch(groups[position])

    def _cut(self, indices: list[int], size: int) -> list[list[int]]:
        order = self._random.permutation(indices).tolist()
        return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]

    def _batch(self, chosen: list[int]) -> Batch:
        samples = self._window(max(self._clips[index].size for index in chosen))
        speechless = self._random.random(len(chosen)) < _SPEECHLESS
        pairs = list(zip(chosen, speechless.tolist(), strict=True))
        heard = np.stack([self._placed(self._clips[i], samples, silent) for i, silent in pairs])
        prompt, labels = self._targets(pairs)
        features = self._masked(log_mel(torch.from_numpy(heard)))
        return Batch(features, torch.tensor(prompt), torch.tensor(labels))

    def _window(self, longest: int) -> int:
        """A window in samples: often the short or the full one, else one between."""
        short, full = int(SHORT_WINDOW * SAMPLE_RATE), int(FULL_WINDOW * SAMPLE_RATE)
        if longest > short:
            return full
        draw = self._random.random()
        if draw < 0.4:
            return short
        if draw < 0.8:
            return full
        return int(self._random.integers(short, full)) // _POSITION * _POSITION

    def _placed(self, clip: NDArray[np.int16], samples: int, silent: bool) -> NDArray[np.float32]:
        random = self._random
        sound = np.zeros(samples, np.float32)
        # Half of the clips start at once, as the held-out ones do.
        room = min(samples - clip.size, _LATEST) * int(random.integers(2))
        lead = int(random.integers(0, room, endpoint=True))
        sound[lead : lead + clip.size] = clip
        power = float(np.mean(np.square(clip, dtype=np.float64)))
        if silent:
            sound[:] = 0
        if random.random() < _NOISY:
            # Over the clip alone or over the whole window: both happen in recordings.
            span = slice(lead, lead + clip.size) if random.random() < 0.7 else slice(0, samples)
            sound[span] += self._noise(span.stop - span.start, power)
        return sound * np.float32(10 ** (random.uniform(*_LEVELS) / 20) / 32_768)

    def _noise(self, count: int, power: float) -> NDArray[np.float32]:
        """Gaussian noise, white or falling with frequency, at a random level."""
        random = self._random
        white = random.standard_normal(count + 1).astype(np.float32)
        mixed = white[1:] + np.float32(random.uniform(0, 1)) * white[:-1]
        wanted = power * 10 ** (-random.uniform(*_DECIBELS) / 10)
        return mixed * np.float32(np.sqrt(wanted / np.mean(mixed**2)))

    def _targets(self, pairs: list[tuple[int, bool]]) -> tuple[list[list[int]], list[list[int]]]:
        """Decoder inputs and labels; what has no speech ends at once and says so first."""
        head = [self._id_of(token) for token in tokens.PROMPT]
        end, nothing = self._id_of(tokens.END_OF_TEXT), self._id_of(tokens.NO_SPEECH)
        rows = []
        for index, silent in pairs:
            said = [] if silent else self._tokens[index]
            first = [nothing, _IGNORED, _IGNORED] if silent else head[1:]
            rows.append((head + said, [*first, *said, end]))
        width = max(len(prompt) for prompt, _ in rows)
        prompts = [prompt + [end] * (width - len(prompt)) for prompt, _ in rows]
        labels = [label + [_IGNORED] * (width - len(label)) for _, label in rows]
        return prompts, labels

    def _masked(self, features: torch.Tensor) -> torch.Tensor:
        """SpecAugment (Park et al. 2019): two bands and two spans, set to the clip's mean."""
        clips, bins, frames = features.shape
        mask = np.zeros(features.shape, bool)
        for clip in range(clips):
            for _ in range(2):
                low, width = self._random.integers(bins), self._random.integers(13)
                mask[clip, low : low + width] = True
                start, length = self._random.integers(frames), self._random.integers(11)
                mask[clip, :, start : start + length] = True
        mean = features.mean(dim=(1, 2), keepdim=True)
        return torch.where(torch.from_numpy(mask), mean, features)


def log_mel(waveforms: torch.Tensor) -> torch.Tensor:
    """Whisper's features of waveforms [clips, samples]: float32 [clips, 80, samples / 160]."""
    spectrum = torch.stft(
        waveforms, _MEL.n_fft, HOP, window=torch.hann_window(_MEL.n_fft), return_complex=True
    )
    power = spectrum[..., :-1].abs() ** 2
    filters = torch.from_numpy(_MEL.mel_filters).float()
    scaled = (filters.T @ power).clamp(min=1e-10).log10()
    loudest = scaled.amax(dim=(1, 2), keepdim=True)
    return (torch.maximum(scaled, loudest - 8) + 4) / 4
