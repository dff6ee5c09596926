"""Columns as the report's page draws them: order, words, and the coordinates of bars.

Drawn as plain SVG here, because a chart library would bring a script or a picture that does not
follow the reader's light or dark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drift.budget import Basis, TooFewDays
from drift.verdicts import Alarm, NotEnoughData

if TYPE_CHECKING:
    from drift.assessment import Assessment, ColumnComparison
    from drift.permutation import ColumnEvidence
    from drift.verdicts import Judgement

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


@dataclass(frozen=True, slots=True)
class ColumnView:
    """One column's card and its row in the table; texts are ready to print."""

    name: str
    mood: str
    """`alarm`, `watch`, `quiet`, or `not` for what cannot be told."""
    status: str
    sentence: str
    reference_bars: tuple[Bar, ...]
    window_bars: tuple[Bar, ...]
    low: str
    high: str
    """The reference's smallest and largest value, under the chart."""
    numbers: tuple[tuple[str, str], ...]
    """(label, value) for the table, the same labels for every column."""


def column_views(assessment: Assessment) -> tuple[ColumnView, ...]:
    """Every column that the reference has: broken first, then by how much it moved."""
    judgement = assessment.judgement
    evidence = {item.name: item for item in judgement.columns}
    broken = {item.column for item in judgement.findings}

    def rank(column: ColumnComparison) -> tuple[bool, float, float, str]:
        item = evidence.get(column.name)
        weighed = (item.p_value, -item.effect) if item else (1.0, 0.0)
        return (column.name not in broken, *weighed, column.name)

    return tuple(
        _view(column, evidence.get(column.name), judgement)
        for column in sorted(assessment.columns, key=rank)
    )


def calibration_line(judgement: Judgement) -> str:
    """What the alarm's threshold rests on, in a few words."""
    calibration = judgement.calibration
    if isinstance(calibration.alarm, TooFewDays):
        return f"{calibration.alarm.more} more days are needed before it can be kept"
    score = f"score {calibration.score:.1f} ({calibration.signal})" if calibration.signal else ""
    basis = "" if calibration.alarm.basis is Basis.RANK else ", tail fitted"
    return (
        f"{score}, alarm over {calibration.alarm.value:.1f} from {calibration.alarm.days} "
        f"past days{basis}"
    )


def _view(
    column: ColumnComparison, evidence: ColumnEvidence | None, judgement: Judgement
) -> ColumnView:
    mood, status = _mood(column.name, evidence, judgement)
    reference = column.reference
    bars = _bars(reference.counts, column.window_counts)
    return ColumnView(
        name=column.name,
        mood=mood,
        status=status,
        sentence=_sentence(column, evidence, judgement),
        reference_bars=bars[0],
        window_bars=bars[1],
        low=_number(reference.quantiles[0]) if reference.quantiles else "",
        high=_number(reference.quantiles[-1]) if reference.quantiles else "",
        numbers=_numbers(column, evidence),
    )


def _mood(name: str, evidence: ColumnEvidence | None, judgement: Judgement) -> tuple[str, str]:
    for finding in judgement.findings:
        if finding.column == name:
            return "alarm", str(finding.kind)
    if isinstance(judgement.outcome, Alarm) and name in judgement.outcome.columns:
        return "alarm", "drifted"
    if evidence and evidence.p_value <= judgement.guard_alpha:
        return "watch", "moved a little"
    if isinstance(judgement.outcome, NotEnoughData) or not evidence:
        return "not", "cannot tell"
    return "quiet", "as before"


def _sentence(
    column: ColumnComparison, evidence: ColumnEvidence | None, judgement: Judgement
) -> str:
    for finding in judgement.findings:
        if finding.column == column.name:
            return finding.detail
    if not evidence or not column.window_counts:
        return "no values to compare"
    moved = f"mean {_number(column.reference.mean)} → {_number(column.window_mean)}"
    if abs(evidence.shift) >= 0.05:
        way = "higher" if evidence.shift > 0 else "lower"
        moved += f"; {way} in {(1 + abs(evidence.shift)) / 2:.0%} of pairs"
    change = column.window_missing_share - column.reference.missing_share
    if abs(change) >= 0.005:
        before, after = column.reference.missing_share, column.window_missing_share
        moved += f"; missing {before:.1%} → {after:.1%}"
    return moved


def _numbers(
    column: ColumnComparison, evidence: ColumnEvidence | None
) -> tuple[tuple[str, str], ...]:
    distances = column.distances
    return (
        ("Effect", f"{evidence.effect:.3f}" if evidence else "n/a"),
        ("p", f"{evidence.p_value:.3f}" if evidence else "n/a"),
        ("PSI", f"{distances.psi:.3f}" if distances else "n/a"),
        ("JS", f"{distances.jensen_shannon:.3f}" if distances else "n/a"),
        ("Wasserstein", f"{distances.wasserstein:.3f}" if distances else "n/a"),
        ("Missing before", f"{column.reference.missing_share:.1%}"),
        ("now", f"{column.window_missing_share:.1%}"),
    )


def _bars(
    reference: tuple[int, ...], window: tuple[int, ...]
) -> tuple[tuple[Bar, ...], tuple[Bar, ...]]:
    """Bars of shares, side by side; an outermost bin that is next to empty is left out."""
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


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
