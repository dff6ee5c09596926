"""Columns as the report's page tells them: in which order, and in which words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drift.budget import Basis, TooFewDays
from drift.report_bars import bars_of
from drift.units import bare, between, change, quantity, title
from drift.verdicts import Alarm, NotEnoughData

if TYPE_CHECKING:
    from drift.assessment import Assessment, ColumnComparison
    from drift.permutation import ColumnEvidence
    from drift.report_bars import Bar
    from drift.verdicts import Judgement

MOVERS = 3
LEAST_SHIFT = 0.05
"""Of the chance to be higher less that to be lower: under it, no direction is told."""


@dataclass(frozen=True, slots=True)
class ColumnView:
    """One column's card and its row in the table; texts are ready to print."""

    name: str
    title: str
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


@dataclass(frozen=True, slots=True)
class Mover:
    """One of the columns that moved most; texts are ready to print, in the column's own unit."""

    name: str
    title: str
    mood: str
    status: str
    arrow: str
    """Up, down, or both where only the shape changed."""
    change: str
    """Signed, of the mean, or of the share of missing values where that moved more."""
    sentence: str


def column_views(assessment: Assessment) -> tuple[ColumnView, ...]:
    """Every column that has something to show: broken first, then by how much it moved."""
    judgement = assessment.judgement
    evidence = {item.name: item for item in judgement.columns}
    empty = without_values(assessment)
    return tuple(
        _view(column, evidence.get(column.name), judgement)
        for column in _ranked(assessment)
        if column.name not in empty
    )


def without_values(assessment: Assessment) -> tuple[str, ...]:
    """Columns without a value on either side, as those of other kinds of models are."""
    broken = {item.column for item in assessment.judgement.findings}
    return tuple(
        column.name
        for column in assessment.columns
        if column.reference.finite == 0
        and column.window_missing == column.window_rows
        and column.name not in broken
    )


def movers(assessment: Assessment, most: int = MOVERS) -> tuple[Mover, ...]:
    """The columns that moved most; none that has nothing to compare and no fault."""
    judgement = assessment.judgement
    evidence = {item.name: item for item in judgement.columns}
    broken = {item.column for item in judgement.findings}
    moved = [
        column
        for column in _ranked(assessment)
        if column.name in broken or (column.name in evidence and column.window_counts)
    ]
    return tuple(_mover(column, evidence.get(column.name), judgement) for column in moved[:most])


def _ranked(assessment: Assessment) -> list[ColumnComparison]:
    judgement = assessment.judgement
    evidence = {item.name: item for item in judgement.columns}
    broken = {item.column for item in judgement.findings}

    def rank(column: ColumnComparison) -> tuple[bool, bool, float, str]:
        item = evidence.get(column.name)
        stands_out = item is not None and item.p_value <= judgement.guard_alpha
        effect = item.effect if item else 0.0
        return (column.name not in broken, not stands_out, -effect, column.name)

    return sorted(assessment.columns, key=rank)


def _mover(
    column: ColumnComparison, evidence: ColumnEvidence | None, judgement: Judgement
) -> Mover:
    mood, status = _mood(column.name, evidence, judgement)
    before, after = column.reference.missing_share, column.window_missing_share
    shift = evidence.shift if evidence else 0.0
    if abs(after - before) > abs(shift) or not column.window_counts:
        arrow = "↑" if after > before else "↓" if after < before else "↕"
        moved = f"{100 * (after - before):+.1f} points missing"
    else:
        arrow = "↑" if shift >= LEAST_SHIFT else "↓" if shift <= -LEAST_SHIFT else "↕"
        moved = change(column.name, column.reference.mean, column.window_mean)
    return Mover(
        name=column.name,
        title=title(column.name),
        mood=mood,
        status=status,
        arrow=arrow,
        change=moved,
        sentence=_sentence(column, evidence, judgement),
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
    bars = bars_of(reference.counts, column.window_counts)
    return ColumnView(
        name=column.name,
        title=title(column.name),
        mood=mood,
        status=status,
        sentence=_sentence(column, evidence, judgement),
        reference_bars=bars[0],
        window_bars=bars[1],
        low=bare(column.name, reference.quantiles[0]) if reference.quantiles else "",
        high=quantity(column.name, reference.quantiles[-1]) if reference.quantiles else "",
        numbers=_numbers(column, evidence),
    )


def _mood(name: str, evidence: ColumnEvidence | None, judgement: Judgement) -> tuple[str, str]:
    for finding in judgement.findings:
        if finding.column == name:
            return "alarm", str(finding.kind)
    if isinstance(judgement.outcome, Alarm) and name in judgement.outcome.columns:
        return "alarm", "drifted"
    if evidence and evidence.p_value <= judgement.guard_alpha:
        return "watch", "moved"
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
    moved = f"mean {between(column.name, column.reference.mean, column.window_mean)}"
    if abs(evidence.shift) >= LEAST_SHIFT:
        way = "higher" if evidence.shift > 0 else "lower"
        moved += f"; {way} than a value of before {(1 + abs(evidence.shift)) / 2:.0%} of the time"
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
