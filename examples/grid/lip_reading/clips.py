"""One clip: a sentence, a speaker and a light in, frames out; and clips to train on.

Training clips are made when they are wanted and never stored in the tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lip_reading.mouth import HEIGHT, WIDTH, Light, draw
from lip_reading.sentences import draw_sentence
from lip_reading.speakers import ACCENTS, HELD_OUT, speaker
from lip_reading.timing import SAMPLES_PER_SECOND, phonemes
from lip_reading.visemes import FRAMES, FRAMES_PER_SECOND, track, words_seen
from speech.grammar import spoken

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from lip_reading.speakers import Speaker
    from lip_reading.timing import Phoneme

SECONDS = FRAMES / FRAMES_PER_SECOND

_LONGEST = 2.7  # seconds of speech, so that some rest is left at both ends
_MARGIN = 0.12
_CLIPS_EACH = 4


@dataclass(frozen=True)
class Take:
    """One clip: `frames` uint8 [75, 46, 140], and the number of the word in each, -1 for none."""

    frames: NDArray[np.uint8]
    words: NDArray[np.int8]


def film(text: str, who: Speaker, light: Light, random: np.random.Generator) -> Take:
    """Film `who` saying `text` somewhere within three seconds."""
    said, seconds = _said(text, who)
    latest = SECONDS - seconds - 2 * _MARGIN
    start = _MARGIN + latest * (int(random.integers(1 << 16)) / (1 << 16))
    frames = draw(track(said, start, strength=who.strength), who, light, random)
    return Take(frames, words_seen(said, start))


def write_training_clips(path: Path, count: int, seed: int, taken: set[str]) -> None:
    """Write `count` clips to an .npz with `frames`, `words` and `texts`.

    `frames` are uint8 [count, 75, 46, 140], `words` int8 [count, 75] as in Take, `texts` unicode
    [count]. No sentence of `taken` is said, nobody of a held-out split is seen.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    frames = np.empty((count, FRAMES, HEIGHT, WIDTH), np.uint8)
    words = np.empty((count, FRAMES), np.int8)
    texts = []
    for index in range(count):
        # Sentences may come again in training, but none of a held-out split.
        texts.append(draw_sentence(random, set(taken)))
        light = Light(int(random.integers(45, 111)) / 100, int(random.integers(1, 5)))
        take = film(texts[-1], speaker(HELD_OUT + index // _CLIPS_EACH), light, random)
        frames[index], words[index] = take.frames, take.words
    np.savez(path, frames=frames, words=words, texts=np.array(texts))


def _said(text: str, who: Speaker) -> tuple[tuple[Phoneme, ...], float]:
    """The phonemes of `text` and its seconds, at the speaker's rate or the first that fits."""
    rate = who.words_per_minute
    while True:
        said = phonemes(spoken(text), ACCENTS[who.accent], rate)
        seconds = said[-1].start / SAMPLES_PER_SECOND
        if seconds <= _LONGEST:
            return said, seconds
        rate += 4
