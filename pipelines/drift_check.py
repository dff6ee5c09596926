"""One drift check of a model's prediction log: the last window against what came before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isclose
from typing import TYPE_CHECKING

from drift.assessment import assess
from drift.circumstances import Circumstances, in_circumstances
from drift.comparable import Rows, comparable
from drift.history import History
from drift.quality_chart import chart_of, estimate_window, run_length_of, with_chart
from drift.records import read_records
from drift.report import DriftReport, outcome_name
from drift.windows import DAY_S, Basis, Window, choose_reference, same_hours
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from pipelines.drift_reference import own_reference
from pipelines.model_config import load_model_config
from pipelines.prediction_log_places import log_places
from pipelines.rollout.taking_up import read_history
from pipelines.stages import announce
from registry.errors import UserError

if TYPE_CHECKING:
    from drift.assessment import Assessment
    from drift.case import DriftState
    from drift.comparable import Comparable
    from drift.policy import DriftPolicy
    from drift.quality_chart import QualityChart
    from drift.records import Records
    from drift.window_estimate import WindowEstimate
    from drift.windows import Reference
    from pipelines.assembly import Platform
    from pipelines.drift_reference import OwnReference

_SAME_LENGTH = 0.1
"""Means of longer windows vary less, so they are no part of the same chart."""


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """The verdict, and what it came from."""

    verdict: str
    reason: str
    window: Window
    release: int
    """The newest published one that answered in the window; 0 when none did."""
    assessment: Assessment
    """Its `distances` are what later checks need as past."""
    basis: Basis
    """What the window was compared with."""
    estimate: WindowEstimate | None
    """The window's estimated quality, which later checks need as well."""
    quality: QualityChart | None
    report: DriftReport
    """What the page shows."""
    sides: Comparable
    """The records that were compared."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read for one check."""

    window: Window
    current: Records
    """Of the window, with what is odd about it."""
    rows: Rows
    """Of the window, what published releases answered."""
    unknown: dict[int, int]
    """How many requests others answered, by release."""
    reference: Reference
    earlier: tuple[Records, ...]
    """Of the reference's windows."""
    own: OwnReference


def check_drift(
    platform: Platform,
    model: str,
    *,
    window_s: float,
    now: float,
    state: DriftState,
    clock: float | None = None,
) -> DriftCheck:
    """Judge the last `window_s` seconds before `now` (UTC epoch seconds). Nothing is written.

    `clock` is what time it is, where that is later than `now`: records from after it are of no
    time that was yet.

    The reference is the same hours of earlier days; while too few of them have records, the first
    healthy days of the release in service, and before it has those, the reference of its gate.
    `state` is what the journal says of earlier windows and cases; without a past the verdict is at
    most `watch`, faults of a column aside. Raises UserError for an unknown model and a window over
    a day.
    """
    policy = load_model_config(platform.workspace, model).drift
    if not 0 < window_s <= DAY_S:
        raise UserError(
            f"a window of {window_s:.0f} s", remedy="use more than 0 s and at most a day"
        )
    announce("Reading the prediction log")
    window = Window(now - window_s, now)
    found = _read_all(platform, model, policy, window, state, clock or now)
    announce("Comparing")
    assessment, sides = _assess(found, policy, state)
    estimate, chart = _quality(found, policy, state)
    judgement = assessment.judgement
    outcome = with_chart(judgement.outcome, chart)
    assessment = replace(assessment, judgement=replace(judgement, outcome=outcome))
    report = _report(model, found, assessment, now, chart)
    return DriftCheck(
        verdict=outcome_name(outcome),
        reason=outcome.reason,
        window=found.window,
        release=max(report.releases, default=0),
        assessment=assessment,
        basis=found.reference.basis,
        estimate=estimate,
        quality=chart,
        report=report,
        sides=sides,
    )


def _report(
    model: str, found: _Read, assessment: Assessment, now: float, chart: QualityChart | None
) -> DriftReport:
    read = (found.current, *found.earlier)
    return DriftReport(
        model=model,
        releases=found.rows.releases,
        window=found.window,
        references=found.reference.windows,
        at=now,
        assessment=assessment,
        skipped=tuple(part for one in read for part in one.skipped),
        absent=tuple(dict.fromkeys(absent for one in read for absent in one.absent)),
        remarks=tuple(dict.fromkeys(remark for one in read for remark in one.remarks)),
        basis=found.reference.basis.words,
        quality=chart,
    )


def _read_all(
    platform: Platform,
    model: str,
    policy: DriftPolicy,
    window: Window,
    state: DriftState,
    clock: float,
) -> _Read:
    """The window, and what it is to be compared with."""
    catalog, serving = platform.catalog(model), read_history(platform.journal, model)
    current = _read(platform, model, window, now=clock)
    rows, unknown = _published(Rows.of([current], PREDICTION_SCHEMA), frozenset(catalog.releases))
    newest = max(rows.releases, default=0)
    own = own_reference(platform, catalog, serving, state, policy, window, newest)
    days = {
        span: _read(platform, model, span) for span in same_hours(window, policy.reference_days)
    }
    reference = choose_reference(
        window,
        policy.reference_days,
        policy.least_reference_days,
        recorded={span.since for span, records in days.items() if records.table.num_rows},
        own=own.own,
    )
    if reference.basis is Basis.SAME_HOURS:
        earlier = tuple(days[span] for span in reference.windows)
    else:
        earlier = tuple(
            _read(platform, model, span, release=reference.release) for span in reference.windows
        )
    return _Read(window, current, rows, unknown, reference, earlier, own)


def _assess(found: _Read, policy: DriftPolicy, state: DriftState) -> tuple[Assessment, Comparable]:
    """The window against its reference, in its circumstances, and what was compared."""
    reference = found.reference
    before = Rows.of(found.earlier, PREDICTION_SCHEMA)
    if reference.basis is Basis.GATE and found.own.gate is not None:
        before = found.own.gate.as_rows(reference.release)
    sides = comparable(before, found.rows)
    assessment = assess(
        sides.reference,
        sides.window,
        policy,
        span=found.window,
        basis=reference.basis,
        release=reference.release,
        history=History.of(
            state.windows, basis=reference.basis, release=reference.release, marked=state.marked
        ),
    )
    around = Circumstances(
        reference=reference,
        sides=sides,
        reference_fault=found.own.fault,
        reference_lack=found.own.lack,
        unknown=found.unknown,
        ahead=sum(remark.records for remark in found.current.remarks if remark.kind == "future"),
    )
    return replace(assessment, judgement=in_circumstances(assessment.judgement, around)), sides


def _quality(
    found: _Read, policy: DriftPolicy, state: DriftState
) -> tuple[WindowEstimate | None, QualityChart | None]:
    """The window's estimated quality and the chart that it is the newest point of."""
    release, gate = found.own.own.release, found.own.gate
    if gate is None or gate.quality is None:
        return None, None
    estimate = estimate_window(gate.quality, found.rows.table, release, found.window)
    past = [
        one
        for one in state.estimates
        if one.until <= found.window.since
        and isclose(one.until - one.since, found.window.seconds, rel_tol=_SAME_LENGTH)
    ]
    chart = chart_of(
        gate.quality,
        release,
        [*past, *([estimate] if estimate else [])],
        run_length=run_length_of(found.window.seconds, policy.false_alarms_per_month),
        marked=state.marked,
    )
    return estimate, chart


def _published(rows: Rows, releases: frozenset[int]) -> tuple[Rows, dict[int, int]]:
    """What published releases answered, and how much others did.

    A journal that names no release at all says nothing about whose records these are.
    """
    if not releases or releases.issuperset(rows.releases):
        return rows, {}
    answered = rows.table.column("release").value_counts().to_pylist()
    unknown = {one["values"]: one["counts"] for one in answered if one["values"] not in releases}
    return rows.of_releases(releases), unknown


def _read(
    platform: Platform,
    model: str,
    window: Window,
    *,
    release: int | None = None,
    now: float | None = None,
) -> Records:
    return read_records(
        log_places(platform.workspace),
        model,
        release=release,
        since=window.since,
        until=window.until,
        now=now,
    )
