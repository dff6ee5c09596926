"""The small histograms of the drift page, as rectangles.

Drawn as plain SVG, because a chart library would bring a script or a picture that does not follow
the reader's light or dark.
"""

from __future__ import annotations

from dataclasses import dataclass

WIDTH, HEIGHT = 240, 72
_GAP = 3.0
_NEXT_TO_EMPTY = 0.005


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of a small chart, in its own units."""

    x: float
    y: float
    width: float
    height: float


def bars_of(
    reference: tuple[int, ...], window: tuple[int, ...]
) -> tuple[tuple[Bar, ...], tuple[Bar, ...]]:
    """Shares of the reference and of the window, side by side, from counts by bin.

    An outermost bin that is next to empty on both sides is left out.
    """
    ours, theirs = _shares(reference), _shares(window or (0,) * len(reference))
    shown = [i for i in range(len(ours)) if max(ours[i], theirs[i]) >= _NEXT_TO_EMPTY]
    ours, theirs = (
        side[min(shown, default=0) : max(shown, default=0) + 1] for side in (ours, theirs)
    )
    tallest = max((*ours, *theirs), default=0.0) or 1.0
    pitch = WIDTH / max(1, len(ours))
    wide = pitch - _GAP

    def bar(number: int, share: float, *, left: float, width: float) -> Bar:
        tall = share / tallest * (HEIGHT - 2)
        return Bar(
            round(number * pitch + left, 1),
            round(HEIGHT - tall, 1),
            round(width, 1),
            round(tall, 1),
        )

    return (
        tuple(bar(i, share, left=0, width=wide / 2) for i, share in enumerate(ours)),
        tuple(bar(i, share, left=wide / 2, width=wide / 2) for i, share in enumerate(theirs)),
    )


def _shares(counts: tuple[int, ...]) -> tuple[float, ...]:
    total = sum(counts)
    return tuple(count / total if total else 0.0 for count in counts)
