"""What happened to a model in a stretch of time: releases, windows, cases and mutes.

A fold over the journal, so the same journal is always the same timeline. It is for reading and
decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from canary.fold import advance as advance_serving
from canary.states import ModelServing, Outcome
from drift.case import DriftState
from drift.case import advance as advance_drift

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drift.case import Case
    from drift.windows import Window
    from registry.journal import Entry


@dataclass(frozen=True, slots=True)
class Live:
    """A release had all the traffic from `since` to `until`, UTC epoch seconds."""

    release: int
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Muted:
    """Nobody was called from `since` to `until`; `columns` is empty where all were meant."""

    since: float
    until: float
    columns: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Judged:
    """One window that was kept."""

    since: float
    until: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Event:
    """One moment, in a sentence. `kind` is `release`, `rollback`, `alarm`, `ended` or `mute`."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything of `span`, oldest first. Stretches may begin before it and end after it."""

    span: Window
    live: tuple[Live, ...] = ()
    judged: tuple[Judged, ...] = ()
    cases: tuple[Case, ...] = ()
    muted: tuple[Muted, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass
class _Told:
    """What the fold has gathered so far."""

    live: list[Live] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    muted: list[Muted] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def timeline_of(entries: Iterable[Entry], span: Window, model: str) -> Timeline:
    """Fold a model's whole journal and keep what touches `span`.

    Raises IntegrityError for a journal in which an entry cannot have followed those before it.
    """
    serving, state, told = ModelServing(model), DriftState(model), _Told()
    for entry in entries:
        served, judged = advance_serving(serving, entry), advance_drift(state, entry)
        _tell_of_releases(told, serving, served, entry.at)
        _tell_of_drift(told, state, judged, entry)
        serving, state = served, judged
    _end_live(told, span.until)
    cases = (*state.ended, *((state.case,) if state.case else ()))
    return Timeline(
        span=span,
        live=tuple(one for one in told.live if one.until > span.since),
        judged=tuple(one for one in told.judged if one.until > span.since),
        cases=tuple(one for one in cases if (one.ended_at or span.until) > span.since),
        muted=tuple(one for one in told.muted if one.until > span.since),
        events=tuple(one for one in told.events if one.at >= span.since),
    )


def _tell_of_releases(told: _Told, before: ModelServing, after: ModelServing, at: float) -> None:
    back = [
        ended
        for ended in after.history[len(before.history) :]
        if ended.outcome is Outcome.ROLLED_BACK
    ]
    if after.live != before.live:
        _end_live(told, at)
        if after.live is not None:
            told.live.append(Live(after.live, at, at))
            if not back:
                told.events.append(Event(at, "release", f"release {after.live} went live"))
    for ended in back:
        reason = f": {ended.reason}" if ended.reason else ""
        text = f"release {ended.candidate} was rolled back to {after.live}{reason}"
        told.events.append(Event(at, "rollback", text))


def _end_live(told: _Told, at: float) -> None:
    if told.live:
        last = told.live[-1]
        told.live[-1] = Live(last.release, last.since, at)


def _tell_of_drift(told: _Told, before: DriftState, after: DriftState, entry: Entry) -> None:
    body, at = entry.body, entry.at
    if entry.kind == "window-judged":
        window = Judged(float(body["since"]), float(body["until"]), str(body["outcome"]))
        told.judged.append(window)
    elif entry.kind == "alarm-raised" and after.case is not None:
        how = "got worse" if before.case else "opened"
        text = f"case {after.case.number} {how} ({after.case.severity}): {body['reason']}"
        told.events.append(Event(at, "alarm", text))
    elif entry.kind == "attribution-decided" and after.case is not None:
        text = f"case {after.case.number}: {body['outcome']}: {body['reason']}"
        told.events.append(Event(at, "alarm", text))
    elif entry.kind == "alarm-cleared" and after.ended:
        text = f"case {after.ended[-1].number} ended: {body['reason']}"
        told.events.append(Event(at, "ended", text))
    elif entry.kind == "alarm-muted" and after.mute is not None:
        mute = after.mute
        _end_mute(told, at)
        told.muted.append(Muted(at, mute.until, mute.columns, mute.reason))
        told.events.append(Event(at, "mute", f"muted by {mute.by}: {mute.reason}"))
    elif entry.kind == "alarm-unmuted":
        _end_mute(told, at)
        told.events.append(Event(at, "mute", "no longer muted"))


def _end_mute(told: _Told, at: float) -> None:
    """The newest mute replaces the one before it."""
    if told.muted and told.muted[-1].until > at:
        last = told.muted.pop()
        told.muted.append(Muted(last.since, at, last.columns, last.reason))
