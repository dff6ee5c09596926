"""What is wrong around a window rather than in it, and what that leaves of the verdict.

A reference that is gone, traffic of a release that nobody published, a server's clock that runs
ahead, releases that record other columns: each is a finding with a name. None of them is drift, so
none makes an alarm; but where one of them leaves nothing to compare, nothing is called quiet. And a
reference that is not the same traffic makes fewer alarms than one that is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drift.budget import TooFewDays
from drift.checks import Finding, FindingKind
from drift.verdicts import Alarm, NotEnoughData, Quiet, Watch
from drift.windows import Basis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from drift.comparable import Comparable
    from drift.verdicts import Judgement, Outcome
    from drift.windows import Reference

_FAULTS_ANYWHERE = {
    FindingKind.MISSING_COLUMN,
    FindingKind.ALL_MISSING,
    FindingKind.NON_FINITE,
}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What was found out besides the two sides. Counts are of requests."""

    reference: Reference
    sides: Comparable
    reference_fault: str = ""
    """Why the release's own reference cannot be read; empty when it can, or was never asked for."""
    reference_lack: str = ""
    """Why the release has none though nothing is wrong; empty when it has."""
    unknown: Mapping[int, int] | None = None
    """Requests of the window that releases answered which were never published, by release."""
    ahead: int = 0
    """Records dated after the check."""

    def findings(self) -> tuple[Finding, ...]:
        """Each by its name."""
        return tuple(self._found())

    def _found(self) -> Iterator[Finding]:
        if self.reference_fault:
            yield Finding(FindingKind.NO_REFERENCE, "", self.reference_fault)
        for release, requests in sorted((self.unknown or {}).items()):
            detail = (
                f"{requests:,} requests were answered by release {release}, which was never "
                "published; they are left out"
            )
            yield Finding(FindingKind.UNKNOWN_RELEASE, "", detail)
        if self.ahead:
            detail = f"{self.ahead:,} records are of the future: a server's clock runs ahead"
            yield Finding(FindingKind.CLOCK_AHEAD, "", detail)
        if self.sides.left_out:
            names = ", ".join(self.sides.left_out)
            detail = f"not every release records {names}; not compared"
            yield Finding(FindingKind.SCHEMA_CHANGE, "", detail)


def in_circumstances(judgement: Judgement, found: Circumstances) -> Judgement:
    """The judgement with those findings, and with an outcome that does not hide them."""
    findings = found.findings()
    return replace(
        judgement,
        findings=judgement.findings + findings,
        outcome=_outcome(judgement, found, findings),
    )


def _outcome(judgement: Judgement, found: Circumstances, findings: tuple[Finding, ...]) -> Outcome:
    outcome = judgement.outcome
    if isinstance(outcome, Alarm) and _rests_on_other_traffic(judgement, found.reference.basis):
        outcome = Watch(f"{outcome.reason}, which is not the same traffic", outcome.columns)
    told = [one.detail for one in findings if one.kind is not FindingKind.SCHEMA_CHANGE]
    if isinstance(outcome, NotEnoughData) and found.reference.basis is Basis.NONE:
        outcome = replace(outcome, reason=_nothing_yet(judgement, found))
        told = [detail for detail in told if detail != found.reference_fault]
    elif isinstance(outcome, Quiet) and not judgement.columns:
        outcome = NotEnoughData("there is no column that all releases record", 0, 0)
    return replace(outcome, reason="; ".join([outcome.reason, *told]))


def _rests_on_other_traffic(judgement: Judgement, basis: Basis) -> bool:
    """Whether it is an alarm only because an evaluation set or other hours are not the window's.

    A column that is constant now, or a value that was never seen, is a fault where the traffic is
    the same. That all values of a column are missing is one anywhere.
    """
    kinds = {finding.kind for finding in judgement.findings}
    uncalibrated = isinstance(judgement.calibration.alarm, TooFewDays)
    return basis is not Basis.SAME_HOURS and uncalibrated and not kinds & _FAULTS_ANYWHERE


def _nothing_yet(judgement: Judgement, found: Circumstances) -> str:
    """Why there is no reference at all, or that not even the window is there."""
    empty = "" if judgement.window_rows else "the window is empty; "
    lack = found.reference_fault or found.reference_lack or "no release is in service"
    more = found.reference.days_more
    days = f"{more} more day{'' if more == 1 else 's'} of the same hours"
    return f"{empty}there is nothing to compare with before {days}: {lack}"
