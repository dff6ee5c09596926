"""Who is seen: faces drawn from one distribution, dealt to the splits by number.

A speaker is a mouth (sizes in pixels, greys 0 to 255), an accent, a rate, and how far they move
their lips. Numbers below `HELD_OUT` are the held-out splits'; nobody trains on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ACCENTS = {
    "en-gb": "gmw/en",
    "en-gb-scotland": "gmw/en-GB-scotland",
    "en-gb-x-gbclan": "gmw/en-GB-x-gbclan",
    "en-gb-x-gbcwmd": "gmw/en-GB-x-gbcwmd",
    "en-gb-x-rp": "gmw/en-GB-x-rp",
    "en-us": "gmw/en-US",
}
"""Accents by their language tag, with the voice that espeak-ng keeps for each."""
HELD_OUT = 64
"""Numbers of speakers that are kept for evaluation and calibration."""

_SEED = 46_140


@dataclass(frozen=True)
class Speaker:
    """One face and how it speaks.

    Pixels: `half_width` of the mouth at rest, `upper_lip` and `lower_lip` thickness, `drop` of the
    lower lip when the mouth is wide open, `bow` of the upper lip's edge, `x` and `y` of the
    mouth's centre. Greys: `skin`, `lip`, `teeth`, `tongue`, `inside`. `slope` is the skin's change
    of grey from left to right, `strength` the reach of movements, 1 being full.
    """

    number: int
    accent: str
    words_per_minute: int
    strength: float
    half_width: float
    upper_lip: float
    lower_lip: float
    drop: float
    bow: float
    x: float
    y: float
    skin: float
    lip: float
    teeth: float
    tongue: float
    inside: float
    slope: float
    shadow: float

    @property
    def name(self) -> str:
        """An identifier of lower-case letters, digits and hyphens, unique over all splits."""
        return f"{self.accent}-face{self.number:04d}"


def speaker(number: int) -> Speaker:
    """The speaker of that number, always the same one."""
    random = np.random.Generator(np.random.PCG64([_SEED, number]))

    def between(low: float, high: float) -> float:
        # Sixteen bits of a whole number: no library's way to draw a float can change a face.
        return low + (high - low) * (int(random.integers(1 << 16)) / (1 << 16))

    accents = tuple(ACCENTS)
    skin = between(125, 205)
    return Speaker(
        number=number,
        accent=accents[int(random.integers(len(accents)))],
        words_per_minute=int(random.integers(104, 141)),
        strength=between(0.85, 1.15),
        half_width=between(29, 39),
        upper_lip=between(3.8, 6.2),
        lower_lip=between(5, 8.5),
        drop=between(15, 20),
        bow=between(0.8, 2.6),
        x=between(66, 74),
        y=between(16, 20),
        skin=skin,
        lip=skin * between(0.6, 0.82),
        teeth=between(195, 240),
        tongue=between(85, 125),
        inside=between(18, 50),
        slope=between(-0.22, 0.22),
        shadow=between(0.04, 0.16),
    )
