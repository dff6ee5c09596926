"""What is to be written down next about a model's drift: after a look, a verdict, a person's word.

Each function returns drafts: a journal entry's kind and body, and whether somebody is to be called
about it. Whoever holds the journal appends them in order, then calls; nothing here acts. An alarm
never asks for a rollback: only an attribution does (`after_attribution`), and only where it may.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from drift.attribution import DataChanged, ModelWorse, NeitherWorse, attribution_name
from drift.case import Severity
from drift.verdicts import Alarm, NotEnoughData, Quiet, Watch
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drift.attribution import AttributionOutcome
    from drift.case import Case, DriftState
    from drift.history import WindowDistances
    from drift.permission import Permission
    from drift.policy import DriftPolicy
    from drift.verdicts import Outcome
    from drift.window_estimate import WindowEstimate
    from drift.windows import Window

LONGEST_MUTE_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Draft:
    """One entry to append, and whether a person is to be called about it."""

    kind: str
    body: Mapping[str, Any]
    calls: bool = field(default=False)


@dataclass(frozen=True, slots=True)
class Look:
    """One judged window of `release`, looked at `at` (UTC epoch seconds)."""

    at: float
    release: int
    span: Window
    outcome: Outcome
    distances: WindowDistances | None = None
    estimate: WindowEstimate | None = None


def judged(look: Look) -> Draft:
    """What a look says, without what follows from it."""
    return Draft(
        "window-judged",
        {
            "outcome": _NAMES[type(look.outcome)],
            "reason": look.outcome.reason,
            "release": look.release,
            "since": look.span.since,
            "until": look.span.until,
            "distances": look.distances.to_json() if look.distances else None,
            "estimate": look.estimate.to_json() if look.estimate else None,
        },
    )


def decide(state: DriftState, look: Look, policy: DriftPolicy) -> tuple[Draft, ...]:
    """What to write after a look: always that it was judged, and what follows from it."""
    severity = _SEVERITIES.get(type(look.outcome))
    if severity is not None:
        return judged(look), *_raise(state, look, policy, severity)
    case = state.case
    if case and isinstance(look.outcome, Quiet) and case.quiet + 1 >= policy.clear_after:
        awaited = case.attribution == "model" and case.rolled_back_to is None
        if not awaited:
            reason = f"{policy.clear_after} quiet windows in a row"
            return judged(look), Draft("alarm-cleared", {"case": case.number, "reason": reason})
    return (judged(look),)


def _raise(
    state: DriftState, look: Look, policy: DriftPolicy, severity: Severity
) -> tuple[Draft, ...]:
    outcome = look.outcome
    columns = outcome.columns if isinstance(outcome, Alarm | Watch) else ()
    case = state.case or _recent(state, look.at, policy.cooldown_s)
    if case is not None:
        worse = severity.rank > case.severity.rank
        spreads = severity is Severity.ACT and not set(columns) <= set(case.columns)
        if severity.rank < case.severity.rank or not (worse or spreads):
            return ()
    open_case = state.case
    body = {
        "case": open_case.number if open_case else state.next_case,
        "severity": str(severity),
        "columns": list(columns),
        "reason": outcome.reason,
        "release": look.release,
        "alpha": open_case.alpha if open_case else case_alpha(state, look.release, policy),
        "since": look.span.since,
        "until": look.span.until,
    }
    muted = state.mute is not None and state.mute.covers(columns, look.at)
    return (Draft("alarm-raised", body, calls=severity is Severity.ACT and not muted),)


def case_alpha(state: DriftState, release: int, policy: DriftPolicy) -> float:
    """What the release's next case may spend: half of what its case before could."""
    return policy.attribution_alpha * 0.5 ** state.cases_of(release)


def after_attribution(
    state: DriftState, outcome: AttributionOutcome, permission: Permission, at: float
) -> tuple[Draft, ...]:
    """What to write after an attribution, and whether the way back is asked for.

    Empty while it says `not enough`, and when it says what the case knows already.
    """
    case = state.case
    name = attribution_name(outcome)
    if case is None or name in {"not enough", case.attribution}:
        return ()
    body = {"case": case.number, "outcome": name, "reason": outcome.reason}
    muted = state.mute is not None and state.mute.covers(case.columns, at)
    if isinstance(outcome, NeitherWorse):
        reason = f"neither release is worse: {outcome.reason}"
        ended = Draft("alarm-cleared", {"case": case.number, "reason": reason})
        return Draft("attribution-decided", body), ended
    if isinstance(outcome, DataChanged):
        return (Draft("attribution-decided", body, calls=not muted),)
    if not isinstance(outcome, ModelWorse) or not permission.allowed:
        body["not_rolled_back"] = permission.reason
        return (Draft("attribution-decided", body, calls=True),)
    asked = {
        "case": case.number,
        "release": case.release,
        "to": permission.to,
        "reason": outcome.reason,
    }
    return Draft("attribution-decided", body), Draft("drift-rollback-requested", asked, calls=True)


def after_rollback(state: DriftState) -> tuple[Draft, ...]:
    """What to write once the traffic is back on the previous release."""
    if state.case is None or state.case.rolled_back_to is None:
        return ()
    reason = f"traffic went back to release {state.case.rolled_back_to}"
    return (Draft("alarm-cleared", {"case": state.case.number, "reason": reason}),)


def acknowledge(state: DriftState, reason: str) -> Draft:
    """Somebody takes the open case. Raises UserError when there is none."""
    case = _open_case(state)
    return Draft("alarm-acknowledged", {"case": case.number, "reason": reason})


def clear(state: DriftState, reason: str) -> Draft:
    """Somebody ends the open case. Raises UserError when there is none or no reason is given."""
    if not reason.strip():
        raise UserError("no reason is given", remedy="say why the case is over")
    return Draft("alarm-cleared", {"case": _open_case(state).number, "reason": reason})


def mute(*, at: float, until: float, reason: str, columns: Sequence[str] = ()) -> Draft:
    """Nobody is called before `until`. Raises UserError without a reason or a near enough end."""
    if not reason.strip():
        raise UserError("no reason is given", remedy="say why nobody is to be called")
    if not (isfinite(until) and at < until <= at + LONGEST_MUTE_S):
        raise UserError("a mute ends within 30 days", remedy="name an end")
    body = {"until": until, "reason": reason, "columns": list(columns)}
    return Draft("alarm-muted", body)


def unmute(state: DriftState, reason: str) -> Draft:
    """People are called again. Raises UserError when nothing is muted."""
    if state.mute is None:
        raise UserError("nothing is muted", where=state.model)
    return Draft("alarm-unmuted", {"reason": reason})


def _open_case(state: DriftState) -> Case:
    if state.case is None:
        raise UserError("no drift case is open", where=state.model)
    return state.case


def _recent(state: DriftState, at: float, cooldown_s: float) -> Case | None:
    """The case that ended last, while its cooldown lasts."""
    if not state.ended:
        return None
    last = state.ended[-1]
    cooling = last.ended_at is not None and at < last.ended_at + cooldown_s
    return last if cooling else None


_NAMES: Mapping[type, str] = {
    Alarm: "alarm",
    Watch: "watch",
    Quiet: "quiet",
    NotEnoughData: "not enough data",
}
_SEVERITIES: Mapping[type, Severity] = {Alarm: Severity.ACT, Watch: Severity.WATCH}
