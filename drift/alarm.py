"""Whether a window of the prediction log has drifted from its reference, at a stated risk.

An alarm opens a case and calls a person; it never moves traffic, because when the world has
changed, the previous release sees the same world. The stated chance of a false alarm is that of
one window; over successive windows they add up, and `Judgement.windows_per_false_alarm` says so.

Quiet is earned: a window too small to show a drift that matters is NotEnoughData.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from drift.checks import Finding, FindingKind, Side, find_faults
from drift.columns import monitored_columns, units_of, values_of
from drift.permutation import ColumnEvidence, pool, weigh_columns

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from drift.policy import DriftPolicy

_NORMAL_TAIL = 4.0
_SHIFTED = 0.1


@dataclass(frozen=True, slots=True)
class Quiet:
    """No drift, in a window large enough to have shown one that matters."""

    reason: str


@dataclass(frozen=True, slots=True)
class Watch:
    """Something moved, but too little or not surely enough to call a person."""

    reason: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Columns drifted or broke. Opens a case; moves nothing."""

    reason: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotEnoughData:
    """Nothing was seen, and nothing could have been; the numbers are of units (sessions)."""

    reason: str
    window_more: int
    reference_more: int


Outcome: TypeAlias = Quiet | Watch | Alarm | NotEnoughData


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome for one window, with everything it rests on."""

    outcome: Outcome
    findings: tuple[Finding, ...]
    columns: tuple[ColumnEvidence, ...]
    not_compared: tuple[str, ...]
    """Monitored columns that the reference does not have."""
    window_rows: int
    window_units: int
    reference_rows: int
    reference_units: int
    unit: str
    """What is independent of each other: `session`."""
    alpha: float
    watch_alpha: float

    @property
    def p_value(self) -> float:
        """Smallest corrected p-value over the columns; 1 when none was weighed."""
        return min((column.p_value for column in self.columns), default=1.0)

    @property
    def windows_per_false_alarm(self) -> float:
        """After how many windows without drift one false alarm is to be expected."""
        return 1 / self.alpha


def judge_window(reference: pa.Table, window: pa.Table, policy: DriftPolicy) -> Judgement:
    """Compare one window with its reference. Deterministic: the seed is the policy's."""
    sides = tuple(Side(table, units_of(table, policy.unit)) for table in (reference, window))
    ours, theirs = sides
    names = _names(ours, theirs, policy)
    findings = find_faults(ours, theirs, names, alpha=policy.finding_alpha)
    broken = {finding.column for finding in findings}
    compared = [
        name for name in names if name not in broken and ours.has(name) and theirs.has(name)
    ]
    columns: tuple[ColumnEvidence, ...] = ()
    if compared and ours.unit_count and theirs.unit_count:
        columns = _weigh(ours, theirs, compared, policy)
    return Judgement(
        outcome=_outcome(findings, columns, (ours, theirs), policy),
        findings=findings,
        columns=columns,
        not_compared=tuple(name for name in names if not ours.has(name)),
        window_rows=window.num_rows,
        window_units=theirs.unit_count,
        reference_rows=reference.num_rows,
        reference_units=ours.unit_count,
        unit=policy.unit,
        alpha=policy.alpha,
        watch_alpha=policy.watch_alpha,
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
) -> Outcome:
    faults = tuple(item for item in findings if item.kind is not FindingKind.EMPTY_WINDOW)
    drifted = _names_of(columns, policy.distance_alpha, policy.least_effect)
    if faults or drifted:
        return _alarm(faults, drifted, columns)
    if lacking := _lacking(columns, sides, policy):
        return lacking
    if moved := _names_of(columns, policy.watch_alpha, 0.0):
        worst = min(columns, key=lambda column: column.p_value)
        return Watch(
            f"{_drift_in_words(worst)}; an alarm needs an effect of "
            f"{policy.least_effect:g} at p of at most {policy.distance_alpha:.3g}",
            moved,
        )
    return Quiet(f"an effect of {policy.least_effect:g} would have been seen, and none was")


def _names_of(
    columns: tuple[ColumnEvidence, ...], alpha: float, least_effect: float
) -> tuple[str, ...]:
    found = [item for item in columns if item.p_value <= alpha and item.effect >= least_effect]
    return tuple(item.name for item in sorted(found, key=lambda item: -item.effect))


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
