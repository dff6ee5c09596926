"""The attribution's evidence as it grew, and where its curve runs on the page.

The e-value of "the current release is worse" over the pairs counted so far, on a log scale, with
the line that it must reach. The scale is that of a rollout's page (`canary.explain_plot`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from canary.explain_plot import BELOW_ONE, BUCKETS, Frame
from canary.explain_words import e_value as as_text

_MOST_LOG_E = 700.0
"""Where an e-value that overflowed is drawn: exp of a little more is infinite."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The curve of one case: (at, pairs so far, e-value) after each block of pairs, in order.

    `at` in UTC epoch seconds; e-values are 0 or more, infinite where they overflowed. `alpha` is
    what the comparison may spend: it acts at an e-value of 1 / alpha. `said` is the attribution's
    word with its reason, empty before there is one.
    """

    curve: tuple[tuple[float, int, float], ...]
    alpha: float
    said: str = ""
    previous: int | None = None
    """The release that answered the same inputs."""

    @property
    def acts_at(self) -> float:
        """The e-value that moves traffic."""
        return 1 / self.alpha

    @property
    def pairs(self) -> int:
        """All that were counted."""
        return self.curve[-1][1] if self.curve else 0

    @property
    def e_value(self) -> float:
        """The newest; 1, where every bet begins, before the first pair."""
        return self.curve[-1][2] if self.curve else 1.0

    @property
    def reached(self) -> bool:
        """Whether the line was ever reached: what was shown once stays shown."""
        return any(value >= self.acts_at for _, _, value in self.curve)


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """The chart; places are percent of its width and height."""

    line: str
    """Points of an SVG polyline."""
    one: float
    """Where an e-value of 1 is, from the top."""
    acts: float
    acts_text: str
    sentence: str
    reached: bool
    pairs: int
    since: float
    until: float
    """When the first and the last block came."""


def evidence_view(evidence: Evidence) -> EvidenceView | None:
    """The chart of a case's evidence; None before the first pair."""
    if not evidence.curve:
        return None
    points = [(pairs, _log(value)) for _, pairs, value in evidence.curve]
    acts = math.log(evidence.acts_at)
    most = max(acts, *(log_e for _, log_e in points)) * 1.1
    frame = Frame(0.0, float(max(1, evidence.pairs)), -most * BELOW_ONE, most)
    return EvidenceView(
        line=" ".join(f"{_percent(x)},{_percent(y)}" for x, y in _corners(points, frame)),
        one=_percent(frame.y(0.0)),
        acts=_percent(frame.y(acts)),
        acts_text=as_text(acts),
        sentence=(
            f"e-value {as_text(_log(evidence.e_value))} after {evidence.pairs:,} pairs; "
            f"acts at {as_text(acts)}"
        ),
        reached=evidence.reached,
        pairs=evidence.pairs,
        since=evidence.curve[0][0],
        until=evidence.curve[-1][0],
    )


def _log(value: float) -> float:
    if value <= 0 or math.isnan(value):
        return -_MOST_LOG_E
    return min(math.log(value), _MOST_LOG_E)


def _corners(points: list[tuple[int, float]], frame: Frame) -> list[tuple[float, float]]:
    """A staircase, since a value stands until the next block; highest and last of a bucket stay."""
    kept: dict[int, tuple[float, float]] = {}
    for pairs, log_e in points:
        bucket = int(frame.x(pairs) * BUCKETS)
        kept[bucket] = (max(kept.get(bucket, (-math.inf, 0.0))[0], log_e), log_e)
    corners, before = [], frame.y(0.0)
    for bucket, (highest, last) in sorted(kept.items()):
        x = bucket / BUCKETS
        corners += [(x, before), (x, frame.y(highest)), (x, frame.y(last))]
        before = frame.y(last)
    return [(0.0, frame.y(0.0)), *corners, (1.0, before)]


def _percent(part: float) -> float:
    return round(100 * part, 2)
