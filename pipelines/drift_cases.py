"""Drift in the journal: looks that are kept, the case they open, and what people say of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from drift.case import advance, fold
from drift.case_steps import Look, decide, judged
from drift.report import PAGE, VALUES
from drift.windows import DAY_S
from pipelines.drift_check import check_drift
from pipelines.drift_report import report_folder, tell
from pipelines.model_config import load_model_config
from pipelines.stages import announce
from registry.errors import ConflictError
from registry.journal import Entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from drift.case import DriftState
    from drift.case_steps import Draft
    from drift.report import DriftReport
    from pipelines.assembly import Platform
    from pipelines.drift_check import DriftCheck


_TRIES = 20
"""A rollout writes a few entries a second at most."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One look: what the window says, whether it was kept, and what it did to the case."""

    model: str
    check: DriftCheck
    is_kept: bool
    state: DriftState
    calls: tuple[str, ...]
    """Reasons for which a person is to be called, in the order of the journal."""
    report: DriftReport
    """What the page shows."""
    folder: Path
    """Of the page."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, for people and machines alike."""
        case = self.state.case
        return {
            "model": self.model,
            "verdict": self.check.verdict,
            "reason": self.check.reason,
            "case": f"{case.number}, {case.severity}" if case else "none is open",
            "calls": "; ".join(self.calls) or "nobody",
            "kept": "yes" if self.is_kept else "no: its window overlaps the last one",
            "page": str(self.folder / PAGE),
            "values": str(self.folder / VALUES),
        }


def state_of(platform: Platform, model: str) -> DriftState:
    """What the journal says of the model's drift. Raises IntegrityError for a broken journal."""
    return fold(platform.journal.read(model), model=model)


def look(platform: Platform, model: str, *, now: float, window_s: float | None = None) -> Looked:
    """Judge the last window before `now` (UTC epoch seconds), write the page, and keep the look.

    A window that overlaps the last one that was kept is judged and not kept: counted twice, the
    same traffic would make the past look calmer than it was. Raises UserError as `check_drift`.
    """
    platform.permit(model, "window-judged")
    policy = load_model_config(platform.workspace, model).drift
    state = state_of(platform, model)
    length = window_s or policy.window_s
    check = check_drift(platform, model, window_s=length, now=now, state=state)
    is_kept = check.window.since >= state.judged_until
    drafts: tuple[Draft, ...] = ()
    if is_kept:
        seen = _seen(check, now, check.release or platform.serving(model).live or 0)
        drafts = decide(state, seen, policy)
        state = append_drafts(platform, state, drafts, now)
    report = tell(platform, check, now=now)
    calls = tuple(draft.body["reason"] for draft in drafts if draft.calls)
    folder = report_folder(platform.workspace, model)
    return Looked(model, check, is_kept, state, calls, report, folder)


def _seen(check: DriftCheck, at: float, release: int) -> Look:
    return Look(
        at,
        release,
        check.window,
        check.assessment.judgement.outcome,
        check.assessment.distances,
        check.estimate,
    )


def learn(
    platform: Platform, model: str, *, days: int, now: float, window_s: float | None = None
) -> dict[str, Any]:
    """Judge the window that ended `now` of each of the last `days` days, and keep what they say.

    So an alarm has a past on the first day, where the log has one. Windows that were judged before
    are passed over, and so are days without records. No case is opened and nobody is called.
    Returns how many were `kept`, and how many `passed` over.
    """
    platform.permit(model, "window-judged")
    policy = load_model_config(platform.workspace, model).drift
    length, kept = window_s or policy.window_s, 0
    for day in range(days, 0, -1):
        state, at = state_of(platform, model), now - day * DAY_S
        if at - length < state.judged_until:
            continue
        announce(f"Judging the window of {day} days ago")
        check = check_drift(platform, model, window_s=length, now=at, state=state, clock=now)
        if not check.release:
            continue
        seen = _seen(check, at, check.release)
        append_drafts(platform, state, (judged(seen),), now)
        kept += 1
    return {"model": model, "kept": kept, "passed": days - kept}


def write_down(
    platform: Platform, model: str, step: Callable[[DriftState, float], Draft], at: float
) -> DriftState:
    """Journal what a person says of the case `at` (UTC epoch seconds); the state after it.

    Raises UserError, before anything is written, for what cannot be said now, and ConflictError
    when somebody else said something meanwhile.
    """
    state = state_of(platform, model)
    return append_drafts(platform, state, (step(state, at),), at)


def told(state: DriftState) -> dict[str, Any]:
    """The state as plain values: the open case, the mute, and the cases before."""
    return {
        "model": state.model,
        "case": asdict(state.case) if state.case else None,
        "mute": asdict(state.mute) if state.mute else None,
        "ended": [asdict(case) for case in state.ended],
        "windows": len(state.windows),
    }


def append_drafts(
    platform: Platform, state: DriftState, drafts: tuple[Draft, ...], at: float
) -> DriftState:
    """Write the drafts after `state`, which others' entries about anything else leave as it is.

    An entry that could not follow would spoil the journal for all who read it later, so each is
    tried on the state first, and is only written where that is still the newest. One about which a
    person is to be called says so.
    """
    for draft in drafts:
        body = {**draft.body, "calls": True} if draft.calls else draft.body
        for _ in range(_TRIES):
            entry = Entry(
                state.sequence + 1, state.model, draft.kind, at, platform.actor, body, "", ""
            )
            changed = advance(state, entry)
            try:
                platform.journal.append(
                    state.model,
                    draft.kind,
                    body,
                    actor=platform.actor,
                    at=at,
                    after=state.sequence,
                )
            except ConflictError:
                newest = state_of(platform, state.model)
                if replace(newest, sequence=state.sequence) != state:
                    raise
                state = newest
            else:
                state = changed
                break
        else:
            raise ConflictError("the journal is never still enough", where=state.model)
    return state
