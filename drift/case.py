"""A drift case from its first alarm to its end, as a fold over the journal.

A case is latched: it stays open, however often its alarm comes again, until enough quiet windows
in a row or a person ends it. Calling somebody is decided once, when a case opens or gets worse.
Kinds of other rooms are passed over, so the journal of rollouts may hold these entries too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from drift.history import WindowDistances
from drift.window_estimate import WindowEstimate
from drift.windows import Window
from registry.journal_fold import JournalState, after, illegal, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from registry.journal import Entry

_NO_END = 1e15
"""A time that no window reaches."""


class Severity(StrEnum):
    """How much a case asks of people."""

    WATCH = "watch"
    ACT = "act"

    @property
    def rank(self) -> int:
        """0 for `watch`, 1 for `act`."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Case:
    """One stretch in which traffic or answers were not as before. Times are UTC epoch seconds."""

    number: int
    release: int
    severity: Severity
    columns: tuple[str, ...]
    reason: str
    alpha: float
    """What this case may spend on calling the release worse."""
    since: float
    """Where its first window begins."""
    until: float
    """Where its last window that was not quiet ends."""
    opened_at: float
    acknowledged_by: str = ""
    quiet: int = 0
    """Quiet windows in a row since."""
    attribution: str = ""
    """`model`, `data`, `neither` or `not enough` once it was decided."""
    rolled_back_to: int | None = None
    ended_at: float | None = None
    end: str = ""
    """Why it ended."""

    @property
    def real(self) -> bool:
        """Whether something is known to have changed."""
        return self.attribution in {"model", "data"} or self.rolled_back_to is not None


@dataclass(frozen=True, slots=True)
class Mute:
    """Nobody is called about `columns` (all when empty) before `until`. Cases open all the same."""

    until: float
    columns: tuple[str, ...]
    by: str
    reason: str

    def covers(self, columns: Iterable[str], at: float) -> bool:
        """Whether it silences an alarm of those columns at that time."""
        return at < self.until and (not self.columns or set(columns) <= set(self.columns))


@dataclass(frozen=True, slots=True)
class MadeRollback:
    """A rollback that a case asked for by itself."""

    at: float
    case: int
    release: int
    to: int


@dataclass(frozen=True, slots=True)
class DriftState(JournalState):
    """What the journal says of one model's drift."""

    case: Case | None = None
    """The open one."""
    ended: tuple[Case, ...] = ()
    mute: Mute | None = None
    rollbacks: tuple[MadeRollback, ...] = ()
    windows: tuple[WindowDistances, ...] = ()
    """Of every window that was judged, oldest first."""
    estimates: tuple[WindowEstimate, ...] = ()
    """Of every window that was judged and has one, oldest first."""
    judged_until: float = 0.0
    """Where the last window that was judged ends."""

    @property
    def next_case(self) -> int:
        """The number of the next case."""
        return max((case.number for case in self._all), default=0) + 1

    @property
    def marked(self) -> tuple[Window, ...]:
        """Stretches in which something is known to have changed: no part of a normal past."""
        return tuple(Window(case.since, case.until) for case in self._all if case.real)

    @property
    def doubtful(self) -> tuple[Window, ...]:
        """Stretches of cases that asked somebody to act, unless neither release was the worse.

        They are no part of what is healthy; the open case's has no end yet.
        """
        return tuple(
            Window(case.since, _NO_END if case.ended_at is None else case.until)
            for case in self._all
            if case.severity is Severity.ACT and case.attribution != "neither"
        )

    def cases_of(self, release: int) -> int:
        """How many cases that release had, the open one included."""
        return sum(case.release == release for case in self._all)

    @property
    def _all(self) -> tuple[Case, ...]:
        return (*self.ended, *((self.case,) if self.case else ()))


def fold(entries: Iterable[Entry], *, model: str = "") -> DriftState:
    """The state after all of one model's entries, in order.

    Raises IntegrityError, naming the entry, when one cannot have followed those before it.
    """
    state = DriftState(model)
    for entry in entries:
        state = advance(state, entry)
    return state


def advance(state: DriftState, entry: Entry) -> DriftState:
    """The state after one more entry; raises IntegrityError as `fold` does."""
    return after(state, entry, _CHANGES)


def _window_judged(state: DriftState, entry: Entry) -> DriftState:
    body = entry.body
    state = replace(state, judged_until=max(state.judged_until, float(body["until"])))
    if body.get("distances"):
        kept = WindowDistances.from_json(body["distances"])
        state = replace(state, windows=(*state.windows, kept))
    if body.get("estimate"):
        estimate = WindowEstimate.from_json(body["estimate"])
        state = replace(state, estimates=(*state.estimates, estimate))
    if state.case is None or body["outcome"] == "not enough data":
        return state
    if body["outcome"] == "quiet":
        return replace(state, case=replace(state.case, quiet=state.case.quiet + 1))
    until = max(state.case.until, float(body["until"]))
    return replace(state, case=replace(state.case, quiet=0, until=until))


def _alarm_raised(state: DriftState, entry: Entry) -> DriftState:
    """Opens a case, or makes the open one worse."""
    body, severity = entry.body, Severity(entry.body["severity"])
    columns = tuple(body["columns"])
    if state.case is not None:
        case = _current(state, entry)
        milder = severity.rank < case.severity.rank
        require(not milder, entry, f"makes case {case.number} milder")
        columns = (*case.columns, *(name for name in columns if name not in case.columns))
        worse = replace(case, severity=severity, columns=columns, reason=body["reason"])
        return replace(state, case=replace(worse, quiet=0, acknowledged_by=""))
    follows = body["case"] == state.next_case
    require(follows, entry, f"opens case {body['case']}, not {state.next_case}")
    case = Case(
        number=body["case"],
        release=body["release"],
        severity=severity,
        columns=columns,
        reason=body["reason"],
        alpha=body["alpha"],
        since=body["since"],
        until=body["until"],
        opened_at=entry.at,
    )
    return replace(state, case=case)


def _alarm_acknowledged(state: DriftState, entry: Entry) -> DriftState:
    return replace(state, case=replace(_current(state, entry), acknowledged_by=entry.actor))


def _alarm_muted(state: DriftState, entry: Entry) -> DriftState:
    body = entry.body
    mute = Mute(float(body["until"]), tuple(body["columns"]), entry.actor, body["reason"])
    ends = bool(mute.reason) and mute.until > entry.at
    require(ends, entry, "mutes without a reason or an end")
    return replace(state, mute=mute)


def _alarm_unmuted(state: DriftState, entry: Entry) -> DriftState:  # noqa: ARG001  # as the others
    return replace(state, mute=None)


def _attribution_decided(state: DriftState, entry: Entry) -> DriftState:
    case = _current(state, entry)
    return replace(state, case=replace(case, attribution=str(entry.body["outcome"])))


def _rollback_requested(state: DriftState, entry: Entry) -> DriftState:
    """Only one that a case asked for; a person's own has no case."""
    body: Mapping[str, Any] = entry.body
    if "case" not in body:
        return state
    case = _current(state, entry)
    models = case.attribution == "model"
    require(models, entry, f"rolls back in case {case.number}, which is not the model's")
    made = MadeRollback(entry.at, case.number, case.release, int(body["to"]))
    case = replace(case, rolled_back_to=made.to)
    return replace(state, case=case, rollbacks=(*state.rollbacks, made))


def _alarm_cleared(state: DriftState, entry: Entry) -> DriftState:
    case = replace(_current(state, entry), ended_at=entry.at, end=str(entry.body["reason"]))
    return replace(state, case=None, ended=(*state.ended, case))


def _current(state: DriftState, entry: Entry) -> Case:
    """The open case, which the entry must name."""
    if state.case is None or entry.body["case"] != state.case.number:
        raise illegal(entry, f"belongs to case {entry.body['case']}, which is not open")
    return state.case


_CHANGES: Mapping[str, Callable[[DriftState, Entry], DriftState]] = {
    "window-judged": _window_judged,
    "alarm-raised": _alarm_raised,
    "alarm-acknowledged": _alarm_acknowledged,
    "alarm-muted": _alarm_muted,
    "alarm-unmuted": _alarm_unmuted,
    "attribution-decided": _attribution_decided,
    "drift-rollback-requested": _rollback_requested,
    "alarm-cleared": _alarm_cleared,
}
