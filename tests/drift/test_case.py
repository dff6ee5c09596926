"""A case from its first alarm to its end: latched, called about once, and never moving traffic."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drift.attribution import DataChanged, ModelWorse, NeitherWorse, NotEnough
from drift.case import DriftState, Severity, advance, fold
from drift.case_steps import (
    Draft,
    Look,
    acknowledge,
    after_attribution,
    after_rollback,
    clear,
    decide,
    mute,
)
from drift.history import WindowDistances
from drift.permission import Permission, Serving, permitted
from drift.policy import DriftPolicy
from drift.verdicts import Alarm, NotEnoughData, Quiet, Watch
from drift.window_estimate import WindowEstimate
from drift.windows import Basis, Window
from registry.errors import IntegrityError, UserError
from registry.journal import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drift.verdicts import Outcome

HOUR = 3600.0
POLICY = DriftPolicy()
ALARM, WATCH = Alarm("rms is higher", ("rms",)), Watch("rms is higher", ("rms",))
QUIET, SCARCE = Quiet("nothing"), NotEnoughData("empty", 5, 0)
SERVING = Serving(live=4, previous=3, previous_healthy=True)
YES, NO = Permission(allowed=True, reason="healthy", to=3), Permission(allowed=False, reason="no")


@dataclass
class Life:
    """One model's journal in memory, an hour a look."""

    policy: DriftPolicy = POLICY
    entries: list[Entry] = field(default_factory=list)
    state: DriftState = field(default_factory=DriftState)
    now: float = 0.0

    def write(self, drafts: Iterable[Draft], actor: str = "controller") -> list[Draft]:
        drafts = list(drafts)
        for draft in drafts:
            number = len(self.entries) + 1
            entry = Entry(number, "m", draft.kind, self.now, actor, draft.body, "", "")
            self.entries.append(entry)
            self.state = advance(self.state, entry)
        return drafts

    def look(self, outcome: Outcome, *, release: int = 4) -> list[Draft]:
        self.now += HOUR
        span = Window(self.now - HOUR, self.now)
        return self.write(decide(self.state, Look(self.now, release, span, outcome), self.policy))

    def looks(self, *outcomes: Outcome) -> list[Draft]:
        return [draft for outcome in outcomes for draft in self.look(outcome)]

    def attribute(self, outcome: Any, permission: Permission = YES) -> list[Draft]:
        return self.write(after_attribution(self.state, outcome, permission, self.now))


def kinds(drafts: Iterable[Draft]) -> list[str]:
    return [draft.kind for draft in drafts if draft.kind != "window-judged"]


def calls(drafts: Iterable[Draft]) -> int:
    return sum(draft.calls for draft in drafts)


def test_an_alarm_opens_a_case_once_and_calls_once() -> None:
    life = Life()
    drafts = life.looks(QUIET, ALARM, ALARM, WATCH, ALARM)
    assert kinds(drafts) == ["alarm-raised"]
    assert calls(drafts) == 1
    assert life.state.case is not None
    assert life.state.case.severity is Severity.ACT
    assert life.state.case.alpha == POLICY.attribution_alpha


def test_a_watch_opens_a_case_and_calls_nobody_until_it_is_an_alarm() -> None:
    life = Life()
    assert calls(life.looks(WATCH, WATCH)) == 0
    assert calls(life.looks(ALARM)) == 1
    assert life.state.case is not None
    assert (life.state.case.number, life.state.case.severity) == (1, Severity.ACT)


def test_a_case_ends_after_enough_quiet_windows_in_a_row() -> None:
    life = Life()
    drafts = life.looks(ALARM, QUIET, QUIET, WATCH, QUIET, SCARCE, QUIET)
    assert kinds(drafts) == ["alarm-raised"]  # a watch begins the count again, no data leaves it
    assert kinds(life.look(QUIET)) == ["alarm-cleared"]
    assert life.state.case is None
    assert life.state.ended[0].end == "3 quiet windows in a row"


def test_after_a_case_the_same_alarm_waits_and_another_does_not() -> None:
    life = Life()
    life.looks(ALARM, QUIET, QUIET, QUIET)
    assert kinds(life.look(ALARM)) == []
    assert kinds(life.look(Alarm("snr", ("snr_db",)))) == ["alarm-raised"]
    assert life.state.case is not None
    assert life.state.case.number == 2
    life.looks(QUIET, QUIET, QUIET)
    life.now += POLICY.cooldown_s
    assert kinds(life.look(ALARM)) == ["alarm-raised"]


def test_a_new_broken_column_calls_again_and_needs_a_new_word() -> None:
    life = Life()
    life.look(ALARM)
    life.write([acknowledge(life.state, "looking")], actor="ana")
    assert life.state.case is not None
    assert life.state.case.acknowledged_by == "ana"
    assert calls(life.look(Alarm("both", ("rms", "snr_db")))) == 1
    assert life.state.case.columns == ("rms", "snr_db")
    assert life.state.case.acknowledged_by == ""


def test_a_mute_silences_until_its_end_and_only_its_columns() -> None:
    life = Life()
    muted = mute(at=0, until=3 * HOUR, reason="load test", columns=["rms"])
    life.write([muted], actor="ana")
    assert kinds(life.look(ALARM)) == ["alarm-raised"]
    assert calls(life.looks(ALARM)) == 0
    assert calls(life.look(Alarm("other", ("snr_db",)))) == 1
    late = Life()
    late.write([muted], actor="ana")
    late.now = 4 * HOUR
    assert calls(late.look(ALARM)) == 1
    again = Life()
    again.write([muted, Draft("alarm-unmuted", {"reason": "done"})], actor="ana")
    assert calls(again.look(ALARM)) == 1


def test_a_mute_without_reason_or_end_is_refused() -> None:
    for until in (0.0, 31 * 86_400.0, float("inf"), float("nan")):
        with pytest.raises(UserError, match="30 days"):
            mute(at=10, until=until, reason="load test")
    with pytest.raises(UserError, match="no reason"):
        mute(at=10, until=20, reason=" ")


def test_people_cannot_act_on_a_case_that_is_not_open() -> None:
    with pytest.raises(UserError, match="no drift case"):
        acknowledge(DriftState("m"), "me")
    with pytest.raises(UserError, match="no drift case"):
        clear(DriftState("m"), "over")
    life = Life()
    life.look(ALARM)
    with pytest.raises(UserError, match="no reason"):
        clear(life.state, "")
    life.write([clear(life.state, "known maintenance")], actor="ana")
    assert life.state.case is None


def test_a_worse_release_is_rolled_back_and_the_case_ends_when_traffic_is_back() -> None:
    life = Life()
    life.look(ALARM)
    drafts = life.attribute(ModelWorse("worse"))
    assert kinds(drafts) == ["attribution-decided", "drift-rollback-requested"]
    assert drafts[1].body["to"] == 3
    assert calls(drafts) == 1
    assert life.attribute(ModelWorse("worse")) == []
    life.write(after_rollback(life.state))
    assert life.state.case is None
    assert life.state.ended[0].rolled_back_to == 3
    assert [made.to for made in life.state.rollbacks] == [3]


def test_a_refused_rollback_calls_and_the_case_stays_open_however_quiet() -> None:
    life = Life()
    life.look(ALARM)
    drafts = life.attribute(ModelWorse("worse"), NO)
    assert kinds(drafts) == ["attribution-decided"]
    assert drafts[0].body["not_rolled_back"] == "no"
    assert calls(drafts) == 1
    life.looks(*[QUIET] * 5)
    assert life.state.case is not None


def test_changed_data_calls_and_keeps_the_release_and_a_later_word_counts() -> None:
    life = Life()
    life.look(ALARM)
    drafts = life.attribute(DataChanged("both"))
    assert (kinds(drafts), calls(drafts)) == (["attribution-decided"], 1)
    assert life.state.marked == (Window(0.0, HOUR),)
    assert kinds(life.attribute(ModelWorse("worse"))) == [
        "attribution-decided",
        "drift-rollback-requested",
    ]


def test_neither_ends_the_case_and_too_little_says_nothing() -> None:
    life = Life()
    life.look(ALARM)
    assert life.attribute(NotEnough("few", 9, None)) == []
    assert kinds(life.attribute(NeitherWorse("same"))) == ["attribution-decided", "alarm-cleared"]
    assert life.state.marked == ()
    assert life.attribute(ModelWorse("worse")) == []


def test_alpha_halves_over_a_releases_cases_and_starts_anew_with_the_next_release() -> None:
    life = Life(POLICY.model_copy(update={"cooldown_s": 0.0}))
    alphas = []
    for _ in range(4):
        life.look(ALARM)
        assert life.state.case is not None
        alphas.append(life.state.case.alpha)
        life.looks(QUIET, QUIET, QUIET)
    assert alphas == [0.01, 0.005, 0.0025, 0.00125]
    [_, raised] = life.look(ALARM, release=5)
    assert raised.body["alpha"] == 0.01


def test_distances_are_kept_for_the_windows_to_come() -> None:
    life = Life()
    kept = WindowDistances(Window(0, HOUR), Basis.SAME_HOURS, 9, 63, {("rms", "psi"): 0.5})
    look = Look(HOUR, 4, kept.span, QUIET, kept)
    life.write(decide(life.state, look, POLICY))
    assert life.state.windows == (kept,)
    assert not life.state.estimates
    estimate = WindowEstimate(4, HOUR, 2 * HOUR, 0.0625, 300)
    look = Look(2 * HOUR, 4, Window(HOUR, 2 * HOUR), QUIET, estimate=estimate)
    life.write(decide(life.state, look, POLICY))
    assert life.state.estimates == (estimate,)
    assert life.state.windows == (kept,)


def test_days_are_doubtful_while_somebody_was_to_act_unless_no_release_was_worse() -> None:
    life = Life(POLICY.model_copy(update={"cooldown_s": 0.0}))
    life.looks(WATCH, QUIET, QUIET, QUIET)
    assert not life.state.doubtful
    life.look(ALARM)
    assert len(life.state.doubtful) == 1
    open_case = life.state.doubtful[0]
    assert open_case.since == 4 * HOUR
    assert open_case.touches(Window(1e9, 2e9))
    life.looks(QUIET, QUIET, QUIET)
    assert life.state.doubtful == (Window(4 * HOUR, 5 * HOUR),)
    life.look(ALARM)
    life.attribute(NeitherWorse("alike"))
    assert life.state.doubtful == (Window(4 * HOUR, 5 * HOUR),)


@pytest.mark.parametrize(
    ("serving", "change", "word"),
    [
        (SERVING, {"rollback": "advise"}, "advise"),
        (replace(SERVING, live=5), {}, "is about release 4"),
        (replace(SERVING, previous=None), {}, "no previous release"),
        (replace(SERVING, previous=4), {}, "no previous release"),
        (replace(SERVING, withdrawn=frozenset({3})), {}, "failed before"),
        (replace(SERVING, previous_healthy=False), {}, "not loaded and healthy"),
        (replace(SERVING, rollout_under_way=True), {}, "rollout is under way"),
        (SERVING, {"rollbacks_per_day": 0}, "0 of 0"),
    ],
)
def test_what_forbids_a_rollback(serving: Serving, change: dict[str, Any], word: str) -> None:
    life = Life()
    life.look(ALARM)
    assert permitted(life.state, SERVING, POLICY, life.now).to == 3
    policy = DriftPolicy.model_validate(POLICY.model_dump() | change)
    found = permitted(life.state, serving, policy, life.now)
    assert not found.allowed
    assert word in found.reason
    assert not permitted(DriftState("m"), SERVING, POLICY, 0).allowed


def test_caps_and_cooldown_of_rollbacks() -> None:
    policy = POLICY.model_copy(
        update={"rollbacks_per_day": 2, "rollback_cooldown_s": 7200.0, "cooldown_s": 0.0}
    )
    life = Life(policy)

    def roll_back() -> None:
        life.look(ALARM)
        life.attribute(ModelWorse("worse"))
        life.write(after_rollback(life.state))

    roll_back()
    life.look(ALARM)
    assert "too short ago" in permitted(life.state, SERVING, policy, life.now).reason
    assert permitted(life.state, SERVING, policy, life.now + 7200).allowed
    life.attribute(ModelWorse("worse"))
    life.write(after_rollback(life.state))
    life.look(ALARM)
    assert "2 of 2" in permitted(life.state, SERVING, policy, life.now + 8000).reason
    assert permitted(life.state, SERVING, policy, life.now + 90_000).allowed


@pytest.mark.parametrize(
    ("kind", "body", "word"),
    [
        ("alarm-cleared", {"case": 1, "reason": "x"}, "not open"),
        ("alarm-acknowledged", {"case": 7, "reason": "x"}, "not open"),
        ("alarm-muted", {"until": 5.0, "columns": [], "reason": "x"}, "without a reason or an end"),
        ("alarm-raised", {"severity": "act", "columns": []}, "cannot be read"),
        ("attribution-decided", {"case": 1, "outcome": "model"}, "not open"),
        ("drift-rollback-requested", {"case": 1, "to": 3}, "not open"),
    ],
)
def test_a_journal_that_cannot_have_been_is_refused(
    kind: str, body: dict[str, Any], word: str
) -> None:
    with pytest.raises(IntegrityError, match=word):
        fold([Entry(1, "m", kind, 10.0, "x", body, "", "")])


def test_a_rollback_without_an_attribution_is_refused() -> None:
    life = Life()
    life.look(ALARM)
    with pytest.raises(IntegrityError, match="not the model's"):
        life.write([Draft("drift-rollback-requested", {"case": 1, "to": 3})])


def test_entries_of_other_rooms_are_passed_over() -> None:
    state = fold([Entry(1, "m", "rollout-started", 1.0, "x", {}, "", "")])
    assert (state.case, state.sequence) == (None, 1)


steps = st.lists(
    st.sampled_from([ALARM, WATCH, QUIET, SCARCE, "model", "data", "neither", "back", "ack"]),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.booleans())
def test_whatever_happens_the_journal_folds_and_only_an_attribution_moves_traffic(
    steps: list[Any], allowed: bool
) -> None:
    life, words = Life(), {"model": ModelWorse, "data": DataChanged, "neither": NeitherWorse}
    called = 0
    for step in steps:
        if step == "back":
            life.write(after_rollback(life.state))
        elif step == "ack":
            life.write([acknowledge(life.state, "me")] if life.state.case else [])
        elif isinstance(step, str):
            drafts = life.attribute(words[step]("why"), YES if allowed else NO)
            moved = [draft for draft in drafts if draft.kind == "drift-rollback-requested"]
            assert not moved or (step == "model" and allowed)
        else:
            called += calls(life.look(step))
    assert fold(life.entries) == life.state
    raised = [entry for entry in life.entries if entry.kind == "alarm-raised"]
    assert called <= len(raised)
    assert len({entry.body["case"] for entry in raised}) == life.state.next_case - 1
