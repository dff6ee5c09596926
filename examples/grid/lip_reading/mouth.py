"""Draws a mouth: features of each frame and a face in, 75 grey frames of 46 x 140 pixels out.

Edges are anti-aliased by the part of a pixel that lies below a curve. Only additions,
multiplications, divisions and square roots touch a pixel before it is rounded, one operation at a
time, so the same clip is the same bytes whatever vector instructions NumPy picks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lip_reading.speakers import Speaker

HEIGHT, WIDTH = 46, 140

_X = np.arange(WIDTH, dtype=np.float32)[None, :]
_Y = np.arange(HEIGHT, dtype=np.float32)[None, :, None]
_MOUTH = slice(16, 124)  # no mouth reaches the columns beside
_AT_ONCE = 5


@dataclass(frozen=True)
class Light:
    """How a clip is lit: `gain` on every grey, and `noise` of the sensor in greys either way."""

    gain: float
    noise: int


@dataclass(frozen=True)
class _Curves:
    """Edges from top to bottom, each [frames, 140] in pixels from the frame's top."""

    outer_top: NDArray[np.float32]
    inner_top: NDArray[np.float32]
    inner_bottom: NDArray[np.float32]
    outer_bottom: NDArray[np.float32]
    half_inner: NDArray[np.float32]
    """Half the width of the opening, [frames, 1]."""

    def within(self, columns: slice) -> _Curves:
        """The same edges over some of the columns."""
        edges = (self.outer_top, self.inner_top, self.inner_bottom, self.outer_bottom)
        return _Curves(*(edge[:, columns] for edge in edges), self.half_inner)


def draw(
    features: NDArray[np.float64],
    speaker: Speaker,
    light: Light,
    random: np.random.Generator,
) -> NDArray[np.uint8]:
    """Frames [n, 46, 140] of a mouth with `features` [n, 8] (see `visemes.Viseme`).

    `random` moves the head and makes the sensor's noise.
    """
    columns = features.astype(np.float32).T[:, :, None]
    centre_x, centre_y = _head(len(features), speaker, random)
    # A few frames at a time stay in the processor's cache, which is twice as fast.
    parts = [slice(start, start + _AT_ONCE) for start in range(0, len(features), _AT_ONCE)]
    pictures = [
        _picture(columns[:, part], speaker, centre_x[part], centre_y[part]) for part in parts
    ]
    return np.concatenate([_exposed(picture, light, random) for picture in pictures])


def _picture(
    columns: NDArray[np.float32],
    speaker: Speaker,
    centre_x: NDArray[np.float32],
    centre_y: NDArray[np.float32],
) -> NDArray[np.float32]:
    curves = _curves(columns, speaker, centre_x, centre_y)
    picture = _skin(speaker, centre_x, curves)
    lips = picture[:, :, _MOUTH]
    curves = curves.within(_MOUTH)
    _paint(lips, curves.outer_top, curves.outer_bottom, speaker.lip)
    _shade_lower_lip(lips, curves, speaker)
    _paint(lips, curves.inner_top, curves.inner_bottom, speaker.inside)
    _paint_inside(lips, columns, curves, speaker, centre_x)
    return picture


def _head(
    frames: int, speaker: Speaker, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centre of the mouth in each frame, both [frames, 1]: placed by chance, swaying a little."""
    knots = random.integers(-256, 257, size=(2, frames // 15 + 3)).astype(np.float32) / 256
    place = random.integers(-256, 257, size=2).astype(np.float32) / 256
    time = np.arange(frames, dtype=np.float32) / 15
    whole = time.astype(np.int64)
    part = time - whole
    sway = knots[:, whole] * (1 - part) + knots[:, whole + 1] * part
    x = speaker.x + 2 * place[0] + 1.6 * sway[0]
    y = speaker.y + 1.5 * place[1] + 1.2 * sway[1]
    return x[:, None].astype(np.float32), y[:, None].astype(np.float32)


def _curves(
    columns: NDArray[np.float32],
    speaker: Speaker,
    centre_x: NDArray[np.float32],
    centre_y: NDArray[np.float32],
) -> _Curves:
    opening, width, protrusion, press, tuck = columns[:5]
    half = speaker.half_width * (1 + np.where(width > 0, 0.14 * width, 0.36 * width))
    half = (half - 2 * opening - 1.5 * press).astype(np.float32)
    half_inner = (half * (0.86 - 0.1 * protrusion)).astype(np.float32)
    thick = 1 + 0.45 * protrusion - 0.5 * press
    gap = speaker.drop * opening
    arch = _arch((_X - centre_x) / half)
    inner = _arch((_X - centre_x) / half_inner)
    inner = np.sqrt(inner)
    distance = np.abs(_X - centre_x) / half
    bow = speaker.bow * np.maximum(0, 1 - 5 * distance) * (1 - 0.5 * press)
    inner_top = centre_y - (0.22 * gap) * inner
    inner_bottom = centre_y + (0.78 * gap) * inner
    upper = speaker.upper_lip * thick * arch
    lower = speaker.lower_lip * thick * (1 - 0.55 * tuck) * np.sqrt(arch)
    # Lips follow the opening at their corners too, where the inner curve has ended.
    follow = arch - inner
    outer_top = inner_top - upper + bow - 0.1 * gap * np.maximum(0, follow)
    outer_bottom = inner_bottom + lower + 0.2 * gap * np.maximum(0, follow)
    return _Curves(outer_top, inner_top, inner_bottom, outer_bottom, half_inner)


def _arch(across: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 - u^2 inside the mouth, 0 beside it."""
    arch: NDArray[np.float32] = np.maximum(0, 1 - across * across).astype(np.float32)
    return arch


def _skin(speaker: Speaker, centre_x: NDArray[np.float32], curves: _Curves) -> NDArray[np.float32]:
    """Skin [frames, 46, 140]: lit from one side, darker under the lip and above the chin."""
    side = 1 + speaker.slope * (_X - 70) / 70
    row = speaker.skin * side.astype(np.float32)
    groove = np.maximum(0, 1 - np.abs(_X - centre_x) / 7) * np.float32(speaker.shadow * 0.5)
    below = (curves.outer_bottom + 5)[:, None, :]
    dark = np.maximum(0, 1 - np.abs(_Y - below) / 4) * np.float32(speaker.shadow)
    above = _above(curves.outer_top)
    across = np.maximum(0, 1 - np.abs(_X - centre_x) / 30)[:, None, :]
    shaded: NDArray[np.float32] = row[:, None, :] * (1 - dark * across - groove[:, None, :] * above)
    return shaded


def _above(edge: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part of each pixel that lies above `edge` [frames, 140], 0 to 1."""
    below = edge[:, None, :] + np.float32(0.5) - _Y
    return np.clip(below, 0, 1, out=below)


def _paint(
    picture: NDArray[np.float32],
    top: NDArray[np.float32],
    bottom: NDArray[np.float32],
    grey: float,
) -> None:
    """Lay `grey` over what lies between two edges."""
    cover = _above(bottom)
    cover -= _above(top)
    np.maximum(cover, 0, out=cover)
    cover *= np.float32(grey) - picture
    picture += cover


def _shade_lower_lip(picture: NDArray[np.float32], curves: _Curves, speaker: Speaker) -> None:
    """A glint along the lower lip, as wet lips have."""
    middle = (curves.inner_bottom + curves.outer_bottom) * np.float32(0.5)
    thick = (curves.outer_bottom - curves.inner_bottom) * np.float32(0.22)
    _paint(picture, middle - thick, middle + thick * np.float32(0.3), speaker.lip * 1.16)


def _paint_inside(
    picture: NDArray[np.float32],
    columns: NDArray[np.float32],
    curves: _Curves,
    speaker: Speaker,
    centre_x: NDArray[np.float32],
) -> None:
    """Tongue, lower teeth and upper teeth, each cut off by the lips."""
    teeth, lower_teeth, tongue = columns[5:]
    top, bottom = curves.inner_top, curves.inner_bottom
    gap = bottom - top
    across = _arch((_X[:, _MOUTH] - centre_x) / (curves.half_inner * np.float32(0.62)))
    tongue_top = bottom - gap * (0.15 + 0.75 * tongue) * np.sqrt(across)
    _paint(picture, np.maximum(tongue_top, top), bottom, speaker.tongue)
    _paint(picture, bottom - gap * (0.42 * lower_teeth), bottom, speaker.teeth * 0.86)
    reach = np.minimum(gap, speaker.drop * 0.36) * teeth
    _paint(picture, top, top + reach, speaker.teeth)


def _exposed(
    picture: NDArray[np.float32], light: Light, random: np.random.Generator
) -> NDArray[np.uint8]:
    """What the sensor says: greys at the light's gain, rounded, with whole-numbered noise."""
    level = np.rint(picture * np.float32(light.gain)).astype(np.int16)
    spread = 2 * light.noise + 1
    draws = random.integers(0, 256, size=(2, *picture.shape), dtype=np.uint8)
    # Two even draws added: a triangle, near enough to the bell that sensors have.
    noise = (draws.astype(np.uint16) * np.uint16(spread) >> 8).astype(np.int16)
    level += noise[0]
    level += noise[1]
    level -= np.int16(2 * light.noise)
    return np.clip(level, 0, 255).astype(np.uint8)
