"""What was said when: decoded tokens with their times, and the pieces of text between two times."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .rules import Timestamps


@dataclass(frozen=True, slots=True)
class Spoken:
    """Tokens of text, and begin and end in seconds of the segment that each belongs to."""

    tokens: tuple[int, ...]
    times: tuple[tuple[float, float], ...]

    def part(self, begin: int, end: int) -> Spoken:
        """The tokens from `begin` to `end`."""
        return Spoken(self.tokens[begin:end], self.times[begin:end])


def spoken(
    tokens: Sequence[int], times: Timestamps | None, *, begin_s: float, end_s: float, step_s: float
) -> Spoken:
    """Tokens as decoded from audio between two seconds, `step_s` seconds a time token.

    A segment that the model has not ended ends with the audio.
    """
    if times is None:
        return Spoken(tuple(tokens), ((begin_s, end_s),) * len(tokens))
    said: list[int] = []
    spans: list[tuple[float, float]] = []
    start = begin_s
    for token in tokens:
        if token < times.begin:
            said.append(token)
            continue
        now = min(begin_s + (token - times.begin) * step_s, end_s)
        spans += [(start, now)] * (len(said) - len(spans))
        start = now
    spans += [(start, end_s)] * (len(said) - len(spans))
    return Spoken(tuple(said), tuple(spans))


def segments(parts: Sequence[Spoken]) -> list[tuple[float, float, tuple[int, ...]]]:
    """Begin, end and tokens of each segment of the parts in turn; none begins before one ends."""
    found: list[tuple[float, float, tuple[int, ...]]] = []
    latest = 0.0
    for part in parts:
        pairs = zip(part.times, part.tokens, strict=True)
        for (begin, end), group in groupby(pairs, key=lambda pair: pair[0]):
            start = max(begin, latest)
            latest = max(start, end)
            found.append((start, latest, tuple(token for _, token in group)))
    return found
