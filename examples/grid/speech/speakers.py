"""Who speaks: voices dealt out to the splits so that no two splits share one.

A voice is an accent and a timbre (espeak's "variant"). The deal is fixed by a seed, so
a split's speakers never change. This module draws speakers; it never makes sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from speech.synthesis import Voice

if TYPE_CHECKING:
    from collections.abc import Sequence

Rate = Literal["normal", "slow"]

# Accents by their language tag, with the voice file that espeak-ng keeps for each.
ACCENTS = {
    "en-029": "gmw/en-029",
    "en-gb": "gmw/en",
    "en-gb-scotland": "gmw/en-GB-scotland",
    "en-gb-x-gbclan": "gmw/en-GB-x-gbclan",
    "en-gb-x-gbcwmd": "gmw/en-GB-x-gbcwmd",
    "en-gb-x-rp": "gmw/en-GB-x-rp",
    "en-us": "gmw/en-US",
    "en-us-nyc": "gmw/en-US-nyc",
}
# The Klatt, robot and whisper variants of espeak-ng are left out: nobody sounds so.
TIMBRES = (
    *("f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8"),
    *("Alex", "Alicia", "Andy", "Annie", "Denis", "Gene", "Jacky"),
    *("Lee", "Mario", "Michael", "steph"),
)
HELD_OUT = 4
"""Voices of each accent in each held-out split: 32 speakers a split."""

_DEAL_SEED = 20_061
_SLOW_SPEAKERS = 5
_NORMAL_WORDS_PER_MINUTE = (150, 195)
_SLOW_WORDS_PER_MINUTE = (104, 122)


@dataclass(frozen=True)
class Speaker:
    """One speaker of a held-out split; `voice` is how they always speak."""

    accent: str
    timbre: str
    rate: Rate
    voice: Voice

    @property
    def name(self) -> str:
        """An identifier of lower-case letters, digits and hyphens, unique over all splits."""
        pace = f"p{self.voice.pitch}-r{self.voice.words_per_minute}"
        return f"{self.accent}-{self.timbre}-{pace}".lower()


def evaluation_speakers() -> tuple[Speaker, ...]:
    """Return the 32 speakers of the evaluation split, all at a normal rate."""
    return _speakers(_deal()["evaluation"], slow=0, seed=1)


def live_speakers() -> tuple[Speaker, ...]:
    """Return the 32 speakers of the live split, of whom 5 talk slowly."""
    return _speakers(_deal()["live"], slow=_SLOW_SPEAKERS, seed=2)


def calibration_speakers() -> tuple[Speaker, ...]:
    """Return the 32 speakers of the calibration split, training voices at a normal rate."""
    voices = training_voices()
    return _speakers(voices[:: len(voices) // (HELD_OUT * len(ACCENTS))], slow=0, seed=3)


def training_voices() -> tuple[tuple[str, str], ...]:
    """Return (accent, timbre) of the 128 voices that neither evaluation nor live uses."""
    return _deal()["training"]


def espeak_name(accent: str, timbre: str) -> str:
    """Return the name by which espeak-ng finds a voice."""
    return f"{ACCENTS[accent]}+{timbre}"


@cache
def _deal() -> dict[str, tuple[tuple[str, str], ...]]:
    random = np.random.Generator(np.random.PCG64(_DEAL_SEED))
    dealt: dict[str, list[tuple[str, str]]] = {"evaluation": [], "live": [], "training": []}
    for accent in ACCENTS:
        order = [TIMBRES[index] for index in random.permutation(len(TIMBRES))]
        pairs = [(accent, timbre) for timbre in order]
        dealt["evaluation"] += pairs[:HELD_OUT]
        dealt["live"] += pairs[HELD_OUT : 2 * HELD_OUT]
        dealt["training"] += pairs[2 * HELD_OUT :]
    return {split: tuple(pairs) for split, pairs in dealt.items()}


def _speakers(pairs: Sequence[tuple[str, str]], slow: int, seed: int) -> tuple[Speaker, ...]:
    random = np.random.Generator(np.random.PCG64(seed))
    slow_ones = set(random.permutation(len(pairs))[:slow].tolist())
    return tuple(
        _speaker(random, accent, timbre, "slow" if index in slow_ones else "normal")
        for index, (accent, timbre) in enumerate(pairs)
    )


def _speaker(random: np.random.Generator, accent: str, timbre: str, rate: Rate) -> Speaker:
    bounds = _SLOW_WORDS_PER_MINUTE if rate == "slow" else _NORMAL_WORDS_PER_MINUTE
    voice = Voice(
        name=espeak_name(accent, timbre),
        words_per_minute=int(random.integers(*bounds, endpoint=True)),
        pitch=int(random.integers(35, 66)),
        pitch_range=int(random.integers(35, 66)),
    )
    return Speaker(accent, timbre, rate, voice)
