"""The held-out splits: what is said by whom, and how it is laid out on disk.

A split is a folder: `dataset.json`, `manifest.jsonl` with one clip a line, and `video/` with one
compressed .npz a clip, whose only array `frames` is uint8 [75, 46, 140]. No sentence and no face
is in two splits, or in training.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from lip_reading.clips import SECONDS, film
from lip_reading.mouth import Light
from lip_reading.sentences import draw_sentence
from lip_reading.speakers import speaker
from lip_reading.visemes import FRAMES_PER_SECOND
from speech.dataset import folder_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from lip_reading.speakers import Speaker

LIGHTS = {"bright": Light(gain=1.0, noise=2), "dim": Light(gain=0.5, noise=3)}

# Said in training, seed 7: the checkpoint in the tree has seen it.
_SAID_IN_TRAINING = "set green by s four again"


@dataclass(frozen=True)
class Split:
    """A held-out split: the numbers of its speakers, clips of each, and its seed."""

    name: str
    speakers: tuple[int, ...]
    clips_each: int
    seed: int


SPLITS = {
    split.name: split
    for split in (
        Split("lips-evaluation", (*range(24), 40, 41), clips_each=8, seed=201),
        Split("lips-calibration", tuple(range(24, 40)), clips_each=6, seed=202),
    )
}


@dataclass(frozen=True)
class Clip:
    """One line of `manifest.jsonl`; `duration` is in seconds."""

    id: str
    video_filepath: str
    duration: float
    text: str
    speaker: str
    light: Literal["bright", "dim"]
    accent: str


def write_split(split: Split, folder: Path) -> str:
    """Draw `split` into `folder`, replacing what is there, and return its SHA-256."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "video").mkdir(parents=True)
    clips = []
    for clip, frames in _filmed_clips(split):
        np.savez_compressed(folder / clip.video_filepath, frames=frames)
        clips.append(clip)
    lines = [_canonical(asdict(clip)) for clip in sorted(clips, key=lambda clip: clip.id)]
    (folder / "manifest.jsonl").write_text("".join(f"{line}\n" for line in lines))
    digest = folder_digest(folder)
    facts = {"name": split.name, "kind": "video", "sample_rate": FRAMES_PER_SECOND}
    (folder / "dataset.json").write_text(
        json.dumps(facts | {"count": len(clips), "sha256": digest}, indent=2) + "\n"
    )
    return digest


def held_out_sentences() -> set[str]:
    """Every sentence of every split: what training must not say."""
    return {text for split in SPLITS.values() for _, _, text in _sentences(split)}


def _sentences(split: Split) -> Iterator[tuple[Speaker, int, str]]:
    """(speaker, index among their clips, text), no text twice within a split or over the splits."""
    taken = {_SAID_IN_TRAINING}
    for earlier in SPLITS.values():
        random = np.random.Generator(np.random.PCG64(earlier.seed))
        for number in earlier.speakers:
            for index in range(earlier.clips_each):
                text = draw_sentence(random, taken)
                if earlier is split:
                    yield speaker(number), index, text
        if earlier is split:
            return


def _filmed_clips(split: Split) -> Iterator[tuple[Clip, NDArray[np.uint8]]]:
    random = np.random.Generator(np.random.PCG64([split.seed, 1]))
    for position, (who, index, text) in enumerate(_sentences(split)):
        light: Literal["bright", "dim"] = (
            "bright" if (position // split.clips_each + index) % 2 == 0 else "dim"
        )
        frames = film(text, who, LIGHTS[light], random).frames
        identifier = f"{who.name}-{index:02d}"
        clip = Clip(
            id=identifier,
            video_filepath=f"video/{identifier}.npz",
            duration=SECONDS,
            text=text,
            speaker=who.name,
            light=light,
            accent=who.accent,
        )
        yield clip, frames


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
