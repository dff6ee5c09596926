"""What a mouth looks like while each phoneme is said, and how it moves from one to the next.

Fourteen visemes stand for all phonemes of the sentences. A track blends them as Cohen and Massaro
do ("Modeling coarticulation in synthetic visual speech", 1993): every phoneme pulls at each
feature with its own weight, and its pull fades in and out over its neighbours, so that lips always
close for a "b" while an "s" takes the shape of the vowel beside it.

All arithmetic is additions, multiplications and divisions of single values, which are the same on
every machine.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from lip_reading.timing import SAMPLES_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lip_reading.timing import Phoneme

FRAMES = 75
FRAMES_PER_SECOND = 25

_STEPS_PER_FRAME = 4  # one step is 10 ms
_SAMPLES_PER_STEP = SAMPLES_PER_SECOND / (FRAMES_PER_SECOND * _STEPS_PER_FRAME)
_REACH = 6  # steps over which a phoneme's pull fades on either side


@dataclass(frozen=True)
class Viseme:
    """A mouth's shape: each feature 0 to 1, but `width` -1 (round) to 1 (spread).

    `opening` between the lips, `protrusion` of both, `press` of one against the other, `tuck` of
    the lower lip under the upper teeth, `teeth` seen (upper, then lower), `tongue` raised.
    """

    opening: float = 0.0
    width: float = 0.0
    protrusion: float = 0.0
    press: float = 0.0
    tuck: float = 0.0
    teeth: float = 0.0
    lower_teeth: float = 0.0
    tongue: float = 0.0


FEATURES = len(astuple(Viseme()))

REST = Viseme(press=0.1)
_VISEMES = {
    "bilabial": Viseme(press=1.0),
    "lip-teeth": Viseme(opening=0.16, width=0.1, tuck=1.0, teeth=0.9),
    "tongue-teeth": Viseme(opening=0.3, width=0.1, teeth=0.7, tongue=1.0),
    "alveolar": Viseme(opening=0.26, width=0.1, teeth=0.6, tongue=0.55),
    "hiss": Viseme(opening=0.2, width=0.45, teeth=1.0, lower_teeth=1.0),
    "hush": Viseme(opening=0.3, width=-0.5, protrusion=0.9, teeth=0.9, lower_teeth=0.8),
    "lateral": Viseme(opening=0.42, teeth=0.5, tongue=0.85),
    "velar": Viseme(opening=0.34, teeth=0.3, tongue=0.1),
    "r": Viseme(opening=0.28, width=-0.35, protrusion=0.5, teeth=0.3),
    "close-round": Viseme(opening=0.14, width=-1.0, protrusion=1.0),
    "spread": Viseme(opening=0.26, width=1.0, teeth=0.8, lower_teeth=0.2),
    "mid": Viseme(opening=0.52, width=0.4, teeth=0.6, tongue=0.2),
    "open": Viseme(opening=1.0, width=0.1, teeth=0.45, tongue=0.15),
    "open-round": Viseme(opening=0.68, width=-0.65, protrusion=0.6, teeth=0.1),
    "neutral": Viseme(opening=0.36, teeth=0.4),
    "rest": REST,
}
# Pull on the opening (with press, tuck, teeth and tongue), and pull on width and protrusion.
_PULLS = {
    "bilabial": (14.0, 0.5),
    "lip-teeth": (10.0, 0.8),
    "tongue-teeth": (4.0, 0.6),
    "alveolar": (2.0, 0.3),
    "hiss": (4.0, 0.8),
    "hush": (4.0, 4.0),
    "lateral": (3.0, 0.4),
    "velar": (0.8, 0.3),
    "r": (1.5, 2.0),
    "close-round": (4.0, 5.0),
    "neutral": (0.7, 0.4),
    "rest": (1.0, 0.6),
}
_VOWEL = (2.0, 2.0)
_PHONEMES = {
    "bilabial": ("p", "b", "m"),
    "lip-teeth": ("f", "v"),
    "tongue-teeth": ("T", "D"),
    "alveolar": ("t", "d", "n", "t#", "?", "*"),
    "hiss": ("s", "z"),
    "hush": ("tS", "dZ", "S", "Z"),
    "lateral": ("l", "l#", "L", "l/"),
    "velar": ("k", "g", "N", "h", "j"),
    "r": ("r", "r-", "R"),
    "close-round": ("w", "w#", "u", "U"),
    "spread": ("i", "I", "I2", "i2", ";"),
    "mid": ("E", "e", "3"),
    "open": ("a", "A", "aa", "V", "A@", "A#", "a2"),
    "open-round": ("0", "O", "O@", "o@", "o"),
    "neutral": ("@", "@2", "@L", "@5", "a#", "I#"),
    "rest": ("",),
}
# Diphthongs: what their halves look like.
_PAIRS = {
    "eI": ("mid", "spread"),
    "aI": ("open", "spread"),
    "aI2": ("open", "spread"),
    "aU": ("open", "close-round"),
    "oU": ("open-round", "close-round"),
    "oU2": ("open-round", "close-round"),
    "i@": ("spread", "neutral"),
    "i@3": ("spread", "neutral"),
    "e@": ("mid", "neutral"),
}
_LOOKS = {name: (look,) for look, names in _PHONEMES.items() for name in names} | _PAIRS


class VisemeError(LookupError):
    """A phoneme that no viseme is known for."""


def track(said: Sequence[Phoneme], start: float, *, strength: float) -> NDArray[np.float64]:
    """Features [75 frames, 8] of a mouth that begins `said` at `start` seconds and rests around it.

    `strength` is how far the speaker moves, 1 being fully. Raises VisemeError for a phoneme that
    has no viseme, and ValueError when the sentence does not end within the clip.
    """
    steps = FRAMES * _STEPS_PER_FRAME
    goals = np.tile(np.array(astuple(REST)), (steps, 1))
    pulls = np.tile(_pull("rest"), (steps, 1))
    for look, begin, end in _segments(said, start):
        if end > steps:
            message = f"the sentence ends {(end - steps) / 100:.2f} s after the clip"
            raise ValueError(message)
        goals[begin:end] = astuple(_VISEMES[look])
        pulls[begin:end] = _pull(look)
    blended = _faded(goals * pulls) / _faded(pulls)
    middle = blended[_STEPS_PER_FRAME // 2 :: _STEPS_PER_FRAME]
    rest = np.array(astuple(REST))
    moved: NDArray[np.float64] = rest + (middle - rest) * strength
    return moved


def words_seen(said: Sequence[Phoneme], start: float) -> NDArray[np.int8]:
    """The number of the word that is being said in each of the 75 frames, -1 for none.

    Such alignments come with the GRID corpus too.
    """
    words = np.full(FRAMES, -1, np.int8)
    for phoneme, following in pairwise(said):
        if phoneme.name:
            begin, end = (_step(start, one.start) for one in (phoneme, following))
            words[begin // _STEPS_PER_FRAME : -(-end // _STEPS_PER_FRAME)] = phoneme.word
    return words


def _segments(said: Sequence[Phoneme], start: float) -> list[tuple[str, int, int]]:
    """(viseme, first step, step after the last) of each phoneme, or of each half of a diphthong."""
    ends = [phoneme.start for phoneme in said[1:]]
    found = []
    for phoneme, end in zip(said, ends, strict=False):
        if phoneme.name not in _LOOKS:
            message = f"no viseme for phoneme {phoneme.name!r}"
            raise VisemeError(message)
        looks = _LOOKS[phoneme.name]
        length = (end - phoneme.start) / len(looks)
        for part, look in enumerate(looks):
            begin = _step(start, phoneme.start + part * length)
            found.append((look, begin, _step(start, phoneme.start + (part + 1) * length)))
    return found


def _step(start: float, samples: float) -> int:
    return int(start * FRAMES_PER_SECOND * _STEPS_PER_FRAME + samples / _SAMPLES_PER_STEP)


def _pull(look: str) -> NDArray[np.float64]:
    opening, shape = _PULLS.get(look, _VOWEL)
    return np.array([opening, shape, shape, opening, opening, opening, opening, opening])


def _faded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each column [steps, n] averaged over its neighbours by a parabola's weights."""
    padded = np.pad(values, ((_REACH, _REACH), (0, 0)), mode="edge")
    total = np.zeros_like(values)
    for offset in range(2 * _REACH + 1):
        distance = (offset - _REACH) / (_REACH + 1)
        total = total + padded[offset : offset + len(values)] * (1 - distance * distance)
    return total
