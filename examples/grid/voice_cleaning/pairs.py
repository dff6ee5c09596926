"""The held-out pairs: who says what in which noise, and how they are laid out on disk.

Calibration and evaluation take different voices of those that no training hears. espeak-ng
carries state from one clip to the next, so a set is the same bytes only when a fresh process
speaks it from the start: `python -m voice_cleaning` does that.
"""

from __future__ import annotations

import json
import shutil
import wave
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from speech.dataset import FULL_WINDOW, folder_digest
from speech.grammar import sentence, spoken
from speech.speakers import Speaker, evaluation_speakers
from speech.synthesis import SAMPLE_RATE, SynthesisError, synthesise
from voice_cleaning.noises import KINDS, NoiseKind, make_noise, mix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

DECIBELS = (0, 5, 10)
"""Signal-to-noise ratios of the noisy clips."""
EVALUATION_VOICES = 3
"""Voices of each accent for evaluation; the accent's other held-out voice is for calibration."""


@dataclass(frozen=True)
class PairSet:
    """A set of pairs: its speakers, pairs of each, and the seed of its sentences and noises."""

    name: str
    speakers: tuple[Speaker, ...]
    clips_each: int
    seed: int


@dataclass(frozen=True)
class Pair:
    """One line of `manifest.jsonl`; `duration` is in seconds."""

    id: str
    audio_filepath: str
    clean_filepath: str
    duration: float
    text: str
    speaker: str
    snr: str
    noise: NoiseKind
    accent: str


def pair_set(name: str) -> PairSet:
    """Return "evaluation" (24 speakers) or "calibration" (the 8 other held-out ones)."""
    everyone = evaluation_speakers()
    each = len(everyone) // len({speaker.accent for speaker in everyone})
    if name == "evaluation":
        chosen = [s for at, s in enumerate(everyone) if at % each < EVALUATION_VOICES]
        return PairSet("cleaning-evaluation", tuple(chosen), clips_each=8, seed=201)
    chosen = [s for at, s in enumerate(everyone) if at % each >= EVALUATION_VOICES]
    return PairSet("cleaning-calibration", tuple(chosen), clips_each=16, seed=202)


def write_pairs(chosen: PairSet, folder: Path) -> str:
    """Speak and spoil `chosen` into `folder`, replacing what is there; return its SHA-256.

    Raises SynthesisError if a clip outlasts the window of 3 s.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("noisy", "clean"):
        (folder / part).mkdir(parents=True)
    pairs = []
    for pair, clean, noisy in _spoilt(chosen):
        _write_wave(folder / pair.clean_filepath, clean)
        _write_wave(folder / pair.audio_filepath, noisy)
        pairs.append(pair)
    lines = [_canonical(asdict(pair)) for pair in sorted(pairs, key=lambda pair: pair.id)]
    (folder / "manifest.jsonl").write_text("".join(f"{line}\n" for line in lines))
    digest = folder_digest(folder)
    facts = {"name": chosen.name, "kind": "noisy-speech", "sample_rate": SAMPLE_RATE}
    (folder / "dataset.json").write_text(
        json.dumps(facts | {"count": len(pairs), "sha256": digest}, indent=2) + "\n"
    )
    return digest


def _spoilt(chosen: PairSet) -> Iterator[tuple[Pair, NDArray[np.int16], NDArray[np.int16]]]:
    """Every pair with its clean and its noisy samples [n]."""
    random = np.random.Generator(np.random.PCG64(chosen.seed))
    texts = [[sentence(random) for _ in range(chosen.clips_each)] for _ in chosen.speakers]
    clips = [
        [_speak(text, speaker) for text in said]
        for speaker, said in zip(chosen.speakers, texts, strict=True)
    ]
    for position, speaker in enumerate(chosen.speakers):
        others = [clip for at, said in enumerate(clips) if at != position for clip in said]
        for index, clean in enumerate(clips[position]):
            # Over all speakers each noise meets each level equally often.
            noise = KINDS[(position + index) % len(KINDS)]
            decibels = DECIBELS[(position // len(KINDS) + index // 2) % len(DECIBELS)]
            sound = make_noise(noise, clean.size, others, random)
            pair = _pair(speaker, index, texts[position][index], clean.size, (noise, decibels))
            yield pair, clean, mix(clean, sound, decibels)


def _pair(
    speaker: Speaker, index: int, text: str, samples: int, spoilt_by: tuple[NoiseKind, int]
) -> Pair:
    identifier = f"{speaker.name}-{index:02d}"
    noise, decibels = spoilt_by
    return Pair(
        id=identifier,
        audio_filepath=f"noisy/{identifier}.wav",
        clean_filepath=f"clean/{identifier}.wav",
        duration=samples / SAMPLE_RATE,
        text=text,
        speaker=speaker.name,
        snr=f"{decibels}dB",
        noise=noise,
        accent=speaker.accent,
    )


def _speak(text: str, speaker: Speaker) -> NDArray[np.int16]:
    samples = synthesise(spoken(text), speaker.voice)
    if samples.size > FULL_WINDOW * SAMPLE_RATE:
        message = f"{speaker.name} says {text!r} in more than {FULL_WINDOW} s"
        raise SynthesisError(message)
    return samples


def _write_wave(path: Path, samples: NDArray[np.int16]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
