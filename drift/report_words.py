"""What a drift report says in words: the headline, what to do now, and what was done already."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from drift.verdicts import Alarm, NotEnoughData, Quiet, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drift.case import Case, Mute
    from drift.report import DriftReport
    from drift.spent import Spent

_WORDS: dict[type, tuple[str, str]] = {
    Alarm: ("Alarm", "the traffic is not what it was"),
    Watch: ("Watch", "something moved, not enough to call a person"),
    Quiet: ("Quiet", "the traffic is what it was"),
    NotEnoughData: ("Not enough data", "nothing can be said yet"),
}
_FOUND = {
    "model": "release {release} is worse than the one before, on the same inputs",
    "data": "the world changed, and both releases feel it",
    "neither": "the traffic moved, and no release is the worse for it",
}


def word_of(outcome: object) -> str:
    """`Alarm`, `Watch`, `Quiet` or `Not enough data`."""
    return _WORDS[type(outcome)][0]


def headline(report: DriftReport) -> str:
    """The verdict in one line: what the window says, or what its case has found.

    A release that is worse comes before anything that the window itself says.
    """
    word, line = _WORDS[type(report.outcome)]
    case = report.case
    if case is None:
        return f"{word}: {line}"
    if case.rolled_back_to is not None:
        return (
            f"Rolled back: release {case.release} was worse; "
            f"traffic went back to {case.rolled_back_to}"
        )
    found = _FOUND.get(case.attribution, line).format(release=case.release)
    if case.attribution == "model" and case.ended_at is None:
        return f"Go back: {found}"
    return f"{word}: {found if isinstance(report.outcome, Alarm | Watch) else line}"


def mood(report: DriftReport) -> str:
    """`alarm`, `watch`, `quiet` or `not`: how the headline is to be taken."""
    if headline(report).startswith(("Rolled back", "Go back")):
        return "alarm"
    return word_of(report.outcome).split()[0].lower()


def next_steps(report: DriftReport) -> tuple[str, ...]:
    """What a person does now, most urgent first; commands stand between backticks."""
    case = report.case
    is_back = case is not None and case.rolled_back_to is not None
    if case is None or (case.ended_at is not None and not is_back):
        return _without_case(report)
    steps = list(_about(case, report.model, pairs=report.evidence.pairs if report.evidence else 0))
    if case.ended_at is not None:
        return tuple(steps)
    if not case.acknowledged_by and case.severity.rank:
        steps.append(f'Take it: `sluice drift ack {report.model} --reason "..."`.')
    clear = f'`sluice drift clear {report.model} --reason "..."`'
    return (*steps, f"When you know what it was: {clear}.")


def _without_case(report: DriftReport) -> tuple[str, ...]:
    outcome = report.outcome
    if isinstance(outcome, NotEnoughData):
        longer = f"`sluice drift report {report.model} --since 6h`"
        return (f"Wait for more traffic, or look at more of it: {longer}.",)
    if isinstance(outcome, Alarm):
        return ("Look at the columns below; no case is open for them.",)
    if isinstance(outcome, Watch):
        return ("Nothing now. Look at the columns that moved when there is time.",)
    return ("Nothing.",)


def _about(case: Case, model: str, pairs: int) -> Iterator[str]:
    if case.rolled_back_to is not None:
        yield "Nothing is urgent: the release before has the traffic."
        yield f"`sluice history {model}` tells how it went back."
    elif case.attribution == "model":
        yield f'Go back: `sluice rollback {model} --reason "..."`.'
    elif case.attribution == "data":
        yield "Leave the release where it is: the one before sees the same world."
        yield (
            f"Find out what changed in the input; `sluice drift sample {model} --to FOLDER` takes "
            "requests to label."
        )
    elif pairs:
        yield (
            f"Both releases answer the same inputs; {pairs:,} pairs do not say yet which of them, "
            "or the world, it is."
        )
    else:
        yield (
            f"Find out whether it is the release or the world: `sluice drift attribute {model}` "
            "asks the one before the same. Look at the columns below."
        )


def done(case: Case | None, mute: Mute | None, spent_at: float) -> tuple[str, ...]:
    """What was done because of the case until `spent_at` (UTC epoch seconds), a sentence each."""
    return tuple(_done(case, mute, spent_at))


def _done(case: Case | None, mute: Mute | None, at: float) -> Iterator[str]:
    if case is not None:
        yield (
            f"Case {case.number} ({case.severity}) was opened {clock(case.opened_at)}, about "
            f"release {case.release}."
        )
        if case.acknowledged_by:
            yield f"{case.acknowledged_by} took it."
        if case.attribution:
            yield f"Both releases were asked the same inputs: {_worded(case.attribution)}."
        if case.rolled_back_to is not None:
            yield f"Traffic was moved back to release {case.rolled_back_to}."
        else:
            yield "No traffic was moved."
        if case.ended_at is not None:
            yield f"It ended {clock(case.ended_at)}: {case.end}."
    if mute is not None and at < mute.until:
        what = ", ".join(mute.columns) or "everything"
        yield f"{mute.by} muted {what} until {clock(mute.until)}: {mute.reason}."


def _worded(attribution: str) -> str:
    return {
        "model": "the current one is worse",
        "data": "both are worse than usual",
        "neither": "neither is worse",
    }.get(attribution, "they do not tell")


def spent_line(spent: Spent) -> str:
    """Alarms against the budget, behind their number."""
    parts = [f"in 30 days; the budget is {spent.budget:g} false a month"]
    if spent.real:
        parts.append(f"{spent.real} real")
    if spent.undecided:
        parts.append(f"{spent.undecided} not decided yet")
    if spent.unexplained:
        parts.append(f"{spent.unexplained} unexplained")
    return ", ".join(parts)


def otherwise(report: DriftReport) -> str:
    """That the check itself said something else; empty where it did not."""
    now = word_of(report.outcome).lower()
    if report.checked_as in {"", now}:
        return ""
    return (
        f"When it was checked, this window was `{report.checked_as}`. Records that came later, or "
        "a case that is known to be real by now, change what it is compared with."
    )


def clock(at: float) -> str:
    """A moment as a sentence has it."""
    return f"{datetime.fromtimestamp(at, UTC):%a %d %b, %H:%M} UTC"
