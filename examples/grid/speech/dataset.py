"""The splits: what is said by whom, and how it is laid out on disk.

A split is a folder in the layout that NeMo reads: `manifest.jsonl`, one clip a line, and
`audio/`. espeak-ng carries state from one clip to the next, so a split is the same bytes
only when a fresh process speaks it from the start: `python -m speech` does that.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import wave
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from speech.draws import training_sentences
from speech.grammar import sentence, spoken
from speech.noise import add_noise
from speech.speakers import (
    Speaker,
    calibration_speakers,
    evaluation_speakers,
    live_speakers,
)
from speech.synthesis import SAMPLE_RATE, SynthesisError, synthesise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SHORT_WINDOW = 2.0
"""Seconds that the short-window checkpoint hears: longer than any normal clip."""
FULL_WINDOW = 3.0
"""Seconds that the other checkpoints hear: longer than any clip."""
NOISE_DECIBELS = 15.0
"""Signal-to-noise ratio of every clip whose `noise` is "noisy"."""

# Bounds of a clip, in seconds, with a frame or more to spare against the windows.
_DURATIONS = {"normal": (0.8, 1.96), "slow": (2.08, 2.96)}
_ATTEMPTS = 40


@dataclass(frozen=True)
class Split:
    """A split: its speakers, clips of each, and the seed of its sentences.

    Calibration has voices of the training, since it decides nothing that is measured, but says
    nothing that was said there.
    """

    name: str
    speakers: Callable[[], tuple[Speaker, ...]]
    clips_each: int
    seed: int
    unsaid: Callable[[], frozenset[str]] = frozenset
    """Sentences to draw again."""


SPLITS = {
    split.name: split
    for split in (
        Split("evaluation", evaluation_speakers, clips_each=14, seed=101),
        Split("live", live_speakers, clips_each=5, seed=102),
        # With this seed it shares no sentence with the other two either.
        Split("calibration", calibration_speakers, 3, seed=104, unsaid=training_sentences),
    )
}


@dataclass(frozen=True)
class Clip:
    """One line of `manifest.jsonl`; `duration` is in seconds."""

    id: str
    audio_filepath: str
    duration: float
    text: str
    speaker: str
    noise: Literal["clean", "noisy"]
    accent: str
    rate: Literal["normal", "slow"]


def write_split(split: Split, folder: Path) -> str:
    """Speak `split` into `folder`, replacing what is there, and return its SHA-256.

    Raises SynthesisError if a clip cannot be spoken within its bounds.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "audio").mkdir(parents=True)
    clips = []
    for clip, samples in _spoken_clips(split):
        _write_wave(folder / clip.audio_filepath, samples)
        clips.append(clip)
    lines = [_canonical(asdict(clip)) for clip in sorted(clips, key=lambda clip: clip.id)]
    (folder / "manifest.jsonl").write_text("".join(f"{line}\n" for line in lines))
    digest = folder_digest(folder)
    facts = {"name": split.name, "kind": "speech", "sample_rate": SAMPLE_RATE}
    (folder / "dataset.json").write_text(
        json.dumps(facts | {"count": len(clips), "sha256": digest}, indent=2) + "\n"
    )
    return digest


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 of the sorted [path, SHA-256] pairs of all files in `folder`.

    Pairs are canonical JSON; `dataset.json`, which holds the digest, is left out.
    """
    files = sorted(
        (path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file() and path != folder / "dataset.json"
    )
    return hashlib.sha256(_canonical(files).encode()).hexdigest()


def _spoken_clips(split: Split) -> Iterator[tuple[Clip, NDArray[np.int16]]]:
    random = np.random.Generator(np.random.PCG64(split.seed))
    unsaid = split.unsaid()
    for position, speaker in enumerate(split.speakers()):
        for index in range(split.clips_each):
            text = sentence(random)
            while text in unsaid:
                text = sentence(random)
            samples = _speak(text, speaker)
            noisy = (position + index) % 2 == 1
            if noisy:
                samples = add_noise(samples, NOISE_DECIBELS, random)
            yield _clip(speaker, index, text, samples.size, noisy=noisy), samples


def _clip(speaker: Speaker, index: int, text: str, samples: int, *, noisy: bool) -> Clip:
    identifier = f"{speaker.name}-{index:02d}"
    return Clip(
        id=identifier,
        audio_filepath=f"audio/{identifier}.wav",
        duration=samples / SAMPLE_RATE,
        text=text,
        speaker=speaker.name,
        noise="noisy" if noisy else "clean",
        accent=speaker.accent,
        rate=speaker.rate,
    )


def _speak(text: str, speaker: Speaker) -> NDArray[np.int16]:
    """Speak at the speaker's rate, or the nearest rate at which the clip is in bounds."""
    shortest, longest = _DURATIONS[speaker.rate]
    voice = speaker.voice
    for _ in range(_ATTEMPTS):
        samples = synthesise(spoken(text), voice)
        seconds = samples.size / SAMPLE_RATE
        if shortest <= seconds <= longest:
            return samples
        step = 4 if seconds > longest else -4
        voice = replace(voice, words_per_minute=voice.words_per_minute + step)
    message = f"{speaker.name} cannot say {text!r} in {shortest} to {longest} s"
    raise SynthesisError(message)


def _write_wave(path: Path, samples: NDArray[np.int16]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
