"""What a journal says of a month, and where it stands on the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from drift.case import fold
from drift.spent import spent_until
from drift.timeline import Event, timeline_of
from drift.timeline_view import timeline_view
from drift.windows import DAY_S, Window
from registry.journal import Entry
from tests.rollout.stage import MODEL, QUICK, Stage

if TYPE_CHECKING:
    from drift.timeline import Timeline


@dataclass
class Journaled:
    """Entries as a journal would have them, after those of real rollouts."""

    entries: list[Entry]
    at: float
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.at

    def add(self, kind: str, hours: float = 1.0, **body: Any) -> None:
        self.at += hours * 3600
        sequence = self.entries[-1].sequence + 1
        self.entries.append(Entry(sequence, MODEL, kind, self.at, "ann", body, "", ""))

    def judge(self, outcome: str) -> None:
        ends = {"since": self.at, "until": self.at + 3600}
        self.add(
            "window-judged", outcome=outcome, reason=outcome, release=2, distances=None, **ends
        )

    def alarm(self, case: int, severity: str = "act") -> None:
        body = {"severity": severity, "columns": ["rms"], "reason": "louder", "release": 2}
        ends = {"since": self.at - 3600, "until": self.at}
        self.add("alarm-raised", 0.1, case=case, alpha=0.01, **body, **ends)

    def timeline(self) -> Timeline:
        return timeline_of(self.entries, Window(self.at - 30 * DAY_S, self.at), MODEL)


@pytest.fixture(scope="module")
def rollouts() -> tuple[list[Entry], float]:
    """Release 1, then 2, then back to 1 by a person."""
    stage = Stage.in_memory()
    for release in (1, 2):
        assert stage.controller().promote(MODEL, release, QUICK).outcome == "settled"
    stage.world.sleep(7200)
    stage.controller().rollback(MODEL, reason="answers are empty")
    return list(stage.entries()), stage.world.clock()


@pytest.fixture
def journaled(rollouts: tuple[list[Entry], float]) -> Journaled:
    entries, at = rollouts
    return Journaled(list(entries), at)


def test_releases_follow_each_other_and_a_way_back_is_told_with_its_reason(
    journaled: Journaled,
) -> None:
    journaled.add("window-judged", outcome="quiet", reason="", since=0.0, until=1.0, release=1)
    timeline = journaled.timeline()
    assert [one.release for one in timeline.live] == [1, 2, 1]
    for before, after in zip(timeline.live, timeline.live[1:], strict=False):
        assert before.until == after.since
    assert timeline.live[-1].until == timeline.span.until
    told = [(one.kind, one.text) for one in timeline.events]
    assert told == [
        ("release", "release 1 went live"),
        ("release", "release 2 went live"),
        ("rollback", "release 2 was rolled back to 1: answers are empty"),
    ]


def test_alarms_cases_and_mutes_are_told_in_order(journaled: Journaled) -> None:
    before = len(journaled.timeline().events)
    journaled.judge("watch")
    journaled.alarm(1, "watch")
    journaled.judge("alarm")
    journaled.alarm(1)
    journaled.add("alarm-muted", until=journaled.at + 9e5, columns=["rms"], reason="load test")
    journaled.add("alarm-muted", until=journaled.at + 8e5, columns=[], reason="longer")
    journaled.add("attribution-decided", case=1, outcome="data", reason="both are worse")
    journaled.add("alarm-unmuted", reason="over")
    journaled.add("alarm-cleared", case=1, reason="a holiday")
    timeline = journaled.timeline()
    assert [one.text for one in timeline.events[before:]] == [
        "case 1 opened (watch): louder",
        "case 1 got worse (act): louder",
        "muted by ann: load test",
        "muted by ann: longer",
        "case 1: data: both are worse",
        "no longer muted",
        "case 1 ended: a holiday",
    ]
    assert [one.outcome for one in timeline.judged] == ["watch", "alarm"]
    first, second = timeline.muted
    assert first.until == second.since
    assert second.until == timeline.events[-2].at
    (case,) = timeline.cases
    assert (case.end, case.attribution) == ("a holiday", "data")


def test_what_was_over_before_the_span_is_left_out(journaled: Journaled) -> None:
    journaled.judge("quiet")
    journaled.alarm(1)
    journaled.add("alarm-cleared", case=1, reason="over")
    journaled.add("alarm-muted", 40 * 24, until=journaled.at + 41 * DAY_S, columns=[], reason="x")
    timeline = journaled.timeline()
    assert timeline.cases == ()
    assert timeline.judged == ()
    assert [one.release for one in timeline.live] == [1]
    assert [one.kind for one in timeline.events] == ["mute"]


def test_everything_is_drawn_inside_the_page(journaled: Journaled) -> None:
    for number in range(200):
        journaled.judge("alarm" if number % 50 == 7 else "quiet")
    journaled.alarm(1)
    view = timeline_view(journaled.timeline())
    for piece in (*view.releases, *view.windows, *view.cases, *view.muted):
        assert piece.x >= 0
        assert piece.x + piece.width <= 100.5
        assert 0 < piece.tall <= 100
    assert all(x <= 86 for x, _ in view.days)
    # Windows that stand on each other are drawn once, by the worst of them.
    assert len(view.windows) <= 250
    assert sum(piece.mood == "alarm" for piece in view.windows) == 4
    assert view.events[0].text.startswith("case 1 opened")


def test_a_long_month_lists_the_newest_and_counts_the_rest(journaled: Journaled) -> None:
    for number in range(30):
        journaled.add("alarm-muted", until=journaled.at + 9e5, columns=[], reason=f"{number}")
        journaled.add("alarm-unmuted", reason="")
    timeline = journaled.timeline()
    view = timeline_view(timeline)
    assert len(view.events) + view.older == len(timeline.events)
    assert view.events[0].text == "no longer muted"
    assert timeline.events[-1] == Event(journaled.at, "mute", "no longer muted")


def test_alarms_of_thirty_days_are_counted_by_what_they_were(journaled: Journaled) -> None:
    def raised(case: int, found: str, *, ends: bool) -> None:
        journaled.judge("alarm")
        journaled.alarm(case)
        if found:
            journaled.add("attribution-decided", case=case, outcome=found, reason="so")
        if ends:
            journaled.add("alarm-cleared", case=case, reason="over")

    raised(1, "model", ends=True)
    journaled.add("alarm-unmuted", 40 * 24, reason="forty days go by")
    raised(2, "data", ends=True)
    raised(3, "", ends=True)
    raised(4, "neither", ends=True)
    journaled.alarm(5, "watch")
    journaled.add("alarm-cleared", case=5, reason="over")
    raised(6, "", ends=False)
    spent = spent_until(fold(journaled.entries, model=MODEL), journaled.at, 1.0)
    assert (spent.alarms, spent.real, spent.undecided, spent.unexplained) == (4, 1, 1, 2)
