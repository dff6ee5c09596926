"""Whether a window of the prediction log has drifted from its reference, at a stated risk.

An alarm opens a case and calls a person; it never moves traffic, because when the world has
changed, the previous release sees the same world.

Two questions, and an alarm needs yes to both. Is the window further from its reference than past
days were from theirs (`drift.history`, at a stated number of false alarms a month)? And is that
more than its sessions can show by chance (`drift.permutation`)? The second alone would be false
wherever whole days differ; the first alone would trust a past in which a column never moved. While
there are too few days for the first, the most that is said is Watch.

Quiet is earned: a window too small to show a drift that matters is NotEnoughData.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np

from drift.budget import Threshold, TooFewDays, threshold_of
from drift.categories import find_new_categories
from drift.checks import Finding, FindingKind, Side, find_faults
from drift.columns import monitored_columns, units_of, values_of
from drift.history import History, Standing, stand
from drift.permutation import pool, weigh_columns
from drift.verdicts import (
    Alarm,
    Calibration,
    Judgement,
    NotEnoughData,
    Quiet,
    Watch,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from drift.history import WindowDistances
    from drift.permutation import ColumnEvidence
    from drift.policy import DriftPolicy
    from drift.verdicts import Outcome

_NORMAL_TAIL = 4.0
_SHIFTED = 0.1


def judge_window(
    reference: pa.Table,
    window: pa.Table,
    policy: DriftPolicy,
    distances: WindowDistances | None = None,
    history: History | None = None,
) -> Judgement:
    """Compare one window with its reference. Deterministic: the seed is the policy's.

    `distances` are the window's own, `history` those of windows before it.
    """
    sides = tuple(Side(table, units_of(table, policy.unit)) for table in (reference, window))
    ours, theirs = sides
    names = _names(ours, theirs, policy)
    half = policy.finding_alpha / 2
    findings = find_faults(ours, theirs, names, alpha=half)
    findings += find_new_categories(ours, theirs, policy.columns, alpha=half)
    broken = {finding.column for finding in findings}
    compared = [
        name for name in names if name not in broken and ours.has(name) and theirs.has(name)
    ]
    columns: tuple[ColumnEvidence, ...] = ()
    if compared and ours.unit_count and theirs.unit_count:
        columns = _weigh(ours, theirs, compared, policy)
    calibration = calibrate(distances, history or History.none(), policy)
    return Judgement(
        outcome=_outcome(findings, columns, (ours, theirs), policy, calibration),
        findings=findings,
        columns=columns,
        not_compared=tuple(name for name in names if not ours.has(name)),
        window_rows=window.num_rows,
        window_units=theirs.unit_count,
        reference_rows=reference.num_rows,
        reference_units=ours.unit_count,
        unit=policy.unit,
        alpha=policy.alpha,
        guard_alpha=policy.guard_alpha,
        false_alarms_per_month=policy.false_alarms_per_month,
        calibration=calibration,
    )


def calibrate(
    distances: WindowDistances | None, history: History, policy: DriftPolicy
) -> Calibration:
    """Hold the window's distances against those of past days."""
    standing = Standing((), np.empty(0), np.empty(0))
    if distances is not None:
        standing = stand(distances, history, policy.history_days)
    over: dict[str, float] = {}
    for (column, _), score in zip(standing.signals, standing.scores.tolist(), strict=True):
        if np.isfinite(score):
            over[column] = max(score, over.get(column, -np.inf))
    signal = ""
    if over:
        signal = " ".join(standing.signals[int(np.nanargmax(standing.scores))])
    return Calibration(
        score=standing.largest,
        signal=signal,
        alarm=threshold_of(standing.day_maxima, policy.alarm_days),
        watch=threshold_of(standing.day_maxima, policy.watch_days),
        over=over,
    )


def _names(reference: Side, window: Side, policy: DriftPolicy) -> tuple[str, ...]:
    ours = monitored_columns(reference.table.schema, policy.columns)
    theirs = monitored_columns(window.table.schema, policy.columns)
    return tuple(dict.fromkeys(ours + theirs))


def _weigh(
    reference: Side, window: Side, names: list[str], policy: DriftPolicy
) -> tuple[ColumnEvidence, ...]:
    rng = np.random.default_rng(policy.seed)
    rows_ours, units_ours = _draw(reference, policy.most_units, rng)
    rows_theirs, units_theirs = _draw(window, policy.most_units, rng)
    first = int(units_ours.max()) + 1
    columns = [
        (
            name,
            np.concatenate(
                [
                    values_of(reference.table, name)[rows_ours],
                    values_of(window.table, name)[rows_theirs],
                ]
            ),
        )
        for name in names
    ]
    pooled = pool(columns, np.concatenate([units_ours, units_theirs + first]), first, policy.bins)
    return weigh_columns(
        pooled, permutations=policy.permutations, alpha=policy.distance_alpha, rng=rng
    )


def _draw(
    side: Side, most: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64] | slice, NDArray[np.int64]]:
    """Rows of at most `most` units, drawn at random, and their units numbered from 0."""
    if side.unit_count <= most:
        return slice(None), side.units
    chosen = np.full(side.unit_count, -1, dtype=np.int64)
    chosen[rng.choice(side.unit_count, most, replace=False)] = np.arange(most)
    renumbered = chosen[side.units]
    rows = np.flatnonzero(renumbered >= 0)
    return rows, renumbered[rows]


def _outcome(
    findings: tuple[Finding, ...],
    columns: tuple[ColumnEvidence, ...],
    sides: tuple[Side, Side],
    policy: DriftPolicy,
    calibration: Calibration,
) -> Outcome:
    faults = tuple(item for item in findings if item.kind is not FindingKind.EMPTY_WINDOW)
    drifted = _beyond(columns, policy.guard_alpha, calibration, calibration.alarm)
    if faults or drifted:
        return _alarm(faults, drifted, columns)
    if isinstance(calibration.alarm, TooFewDays):
        if moved := _names_of(columns, policy.distance_alpha, policy.least_effect):
            reason = _worst_in_words(columns, moved)
            more = calibration.alarm.more
            return Watch(f"{reason}; an alarm needs {more} more days to compare with", moved)
    elif moved := _beyond(columns, policy.guard_alpha, calibration, calibration.watch):
        reason = f"{_worst_in_words(columns, moved)}; past days came close to it"
        return Watch(reason, moved)
    if lacking := _lacking(columns, sides, policy):
        return lacking
    return Quiet(f"an effect of {policy.least_effect:g} would have been seen, and none was")


def _beyond(
    columns: tuple[ColumnEvidence, ...],
    alpha: float,
    calibration: Calibration,
    threshold: Threshold | TooFewDays,
) -> tuple[str, ...]:
    """Columns further away than both past days and the window's own sessions explain."""
    if isinstance(threshold, TooFewDays):
        return ()
    scores = calibration.over
    return tuple(
        name
        for name in _names_of(columns, alpha, 0.0)
        if scores.get(name, -np.inf) > threshold.value
    )


def _names_of(
    columns: tuple[ColumnEvidence, ...], alpha: float, least_effect: float
) -> tuple[str, ...]:
    found = [item for item in columns if item.p_value <= alpha and item.effect >= least_effect]
    return tuple(item.name for item in sorted(found, key=lambda item: -item.effect))


def _worst_in_words(columns: tuple[ColumnEvidence, ...], moved: tuple[str, ...]) -> str:
    worst = min((item for item in columns if item.name in moved), key=lambda item: item.p_value)
    return _drift_in_words(worst)


def _alarm(
    faults: tuple[Finding, ...], drifted: tuple[str, ...], columns: tuple[ColumnEvidence, ...]
) -> Alarm:
    reasons = [f"{item.column}: {item.detail}" for item in faults]
    by_name = {column.name: column for column in columns}
    reasons += [_drift_in_words(by_name[name]) for name in drifted]
    return Alarm("; ".join(reasons), tuple(item.column for item in faults) + drifted)


def _drift_in_words(column: ColumnEvidence) -> str:
    way = "higher" if column.shift > 0 else "lower"
    change = f"is {way}" if abs(column.shift) >= _SHIFTED else "has another shape"
    return f"{column.name} {change} (effect {column.effect:.2f}, p = {column.p_value:.3g})"


def _lacking(
    columns: tuple[ColumnEvidence, ...], sides: tuple[Side, Side], policy: DriftPolicy
) -> NotEnoughData | None:
    """How many more units make `least_effect` visible; None when it already is.

    The noise of a divergence shrinks as 1 / u with u = n m / (n + m), the harmonic size.
    """
    m, n = (min(side.unit_count, policy.most_units) for side in sides)
    needed = _needed_size(columns, m, n, policy)
    if needed <= (n * m / (n + m) if n and m else 0.0):
        return None
    if m > needed:
        window, reference = ceil(needed * m / (m - needed)) - n, 0
    else:
        window, reference = max(0, ceil(2 * needed) - n), max(0, ceil(2 * needed) - m)
    empty = "the window is empty" if not n else "the reference is empty" if not m else ""
    seen = max((column.smallest_visible_effect for column in columns), default=0.0)
    reason = empty or (
        f"only effects over {seen:.2f} could have been seen, and {policy.least_effect:g} matters"
    )
    return NotEnoughData(reason, max(window, 1 if not reference else 0), reference)


def _needed_size(columns: tuple[ColumnEvidence, ...], m: int, n: int, policy: DriftPolicy) -> float:
    if columns:
        visible = max(column.smallest_visible_effect for column in columns) ** 2
        return n * m / (n + m) * visible / policy.least_effect**2
    # Without a window, take chi-squared's variance: the divergence of one smooth column has
    # deviation sqrt(2 (bins - 1)) / 8 u, and thresholds lie some 4 deviations over its mean.
    return _NORMAL_TAIL * sqrt(2 * (policy.bins - 1)) / 8 / policy.least_effect**2
