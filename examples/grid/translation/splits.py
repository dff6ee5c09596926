"""Which sentences are in which set, and how a set is laid out on disk.

A sentence's frame is its command, colour, preposition and adverb. The 256 frames are dealt to
the sets, so that nothing is asked in one whose frame was seen in another: a model that is right
has learnt the grammar, not the sentences.
"""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from speech.dataset import folder_digest
from speech.grammar import ADVERBS, COLOURS, COMMANDS, DIGITS, LETTERS, PREPOSITIONS
from translation.spanish import translate

if TYPE_CHECKING:
    from pathlib import Path

_SEED = 301
_AMOUNTS = {"zero": "none", "one": "one"}


@dataclass(frozen=True, order=True)
class Frame:
    """The four words that a sentence's cluster is named by."""

    command: str
    colour: str
    preposition: str
    adverb: str

    @property
    def name(self) -> str:
        """For example "place-red-by-soon"."""
        return f"{self.command}-{self.colour}-{self.preposition}-{self.adverb}"

    def sentence(self, letter: str, digit: str) -> str:
        """The GRID sentence with those two words filled in."""
        return f"{self.command} {self.colour} {self.preposition} {letter} {digit} {self.adverb}"


@dataclass(frozen=True)
class Split:
    """A held-out set: `frames` of them, `each` sentences of each, and the seed of those."""

    name: str
    frames: int
    each: int
    seed: int


@dataclass(frozen=True)
class Row:
    """One line of `manifest.jsonl`; `speaker` is the frame, the rest are slices."""

    id: str
    source: str
    text: str
    speaker: str
    colour: str
    adverb: str
    amount: str


SPLITS = {
    split.name: split
    for split in (
        Split("text-evaluation", frames=50, each=8, seed=302),
        Split("text-calibration", frames=12, each=8, seed=303),
    )
}


def frames_of(split: Split) -> tuple[Frame, ...]:
    """The frames that only `split` asks about, sorted."""
    begin = sum(one.frames for one in itertools.takewhile(lambda one: one != split, _ordered()))
    return tuple(sorted(_dealt()[begin : begin + split.frames]))


def training_frames() -> tuple[Frame, ...]:
    """The frames that no held-out set asks about, sorted."""
    held_out = sum(split.frames for split in SPLITS.values())
    return tuple(sorted(_dealt()[held_out:]))


def training_sentences() -> list[tuple[str, str]]:
    """Every sentence of the training frames with its Spanish."""
    sentences = [
        frame.sentence(letter, digit)
        for frame in training_frames()
        for letter, digit in itertools.product(LETTERS, DIGITS)
    ]
    return [(sentence, translate(sentence)) for sentence in sentences]


def rows_of(split: Split) -> list[Row]:
    """The rows of `split`, sorted by id."""
    random = np.random.Generator(np.random.PCG64(split.seed))
    rows = []
    for frame in frames_of(split):
        for number in random.choice(len(LETTERS) * len(DIGITS), split.each, replace=False):
            letter, digit = LETTERS[number // len(DIGITS)], DIGITS[number % len(DIGITS)]
            rows.append(_row(frame, letter, digit))
    return sorted(rows, key=lambda row: row.id)


def write_split(split: Split, folder: Path) -> str:
    """Write `split` into `folder`, replacing what is there, and return its SHA-256."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = rows_of(split)
    lines = [json.dumps(asdict(row), sort_keys=True, ensure_ascii=False) for row in rows]
    (folder / "manifest.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    digest = folder_digest(folder)
    facts = {"name": split.name, "kind": "text", "sample_rate": 1}
    (folder / "dataset.json").write_text(
        json.dumps(facts | {"count": len(rows), "sha256": digest}, indent=2) + "\n"
    )
    return digest


def _row(frame: Frame, letter: str, digit: str) -> Row:
    source = frame.sentence(letter, digit)
    return Row(
        id=f"{frame.name}-{letter}-{digit}",
        source=source,
        text=translate(source),
        speaker=frame.name,
        colour=frame.colour,
        adverb=frame.adverb,
        amount=_AMOUNTS.get(digit, "several"),
    )


def _ordered() -> tuple[Split, ...]:
    return tuple(SPLITS.values())


def _dealt() -> list[Frame]:
    """All frames, in the order in which they are dealt."""
    slots = (COMMANDS, COLOURS, PREPOSITIONS, ADVERBS)
    frames = [Frame(*words) for words in itertools.product(*slots)]
    order = np.random.Generator(np.random.PCG64(_SEED)).permutation(len(frames))
    return [frames[int(number)] for number in order]
