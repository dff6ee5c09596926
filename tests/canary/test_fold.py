"""The fold accepts what a rollout can have done and refuses everything else by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from canary.effects import NumberedEffect
from canary.plan import RolloutPlan, Step
from canary.ports import Mirror, Share
from canary.rollout import (
    AdmitRevision,
    ModelServing,
    Observe,
    Perform,
    Phase,
    Record,
    SetAlias,
    StartRevision,
    StopRevision,
    WriteRoute,
    advance,
    fold,
    next_action,
)
from registry.errors import IntegrityError
from registry.journal import Entry

PLAN = RolloutPlan(steps=(Step(weight=10), Step(weight=100))).model_dump(mode="json")
STARTED = ("rollout-started", {"rollout": 1, "candidate": 1, "baseline": None, "plan": PLAN})
START = ("effect-started", {"effect": 1, "name": "StartRevision", "arguments": {"release": 1}})

ROUTE = NumberedEffect(1, WriteRoute((Share(1, 100),)))

Bodies = list[tuple[str, dict[str, Any]]]


def mirrored() -> NumberedEffect:
    return NumberedEffect(4, WriteRoute((Share(1, 100),), Mirror(2, 5)))


def entries(*bodies: tuple[str, dict[str, Any]]) -> list[Entry]:
    return [
        Entry(number, "speech", kind, 100.0 + number, "test", body, "", "")
        for number, (kind, body) in enumerate(bodies, start=1)
    ]


def test_nothing_is_the_state_of_an_empty_journal() -> None:
    assert fold([], model="speech") == ModelServing("speech")


def test_entries_of_other_rooms_are_passed_over() -> None:
    serving = fold(entries(("gate-decided", {"verdict": "pass"})))
    assert serving == ModelServing("speech", sequence=1)


def test_folding_entry_by_entry_is_folding_all() -> None:
    journal = entries(STARTED, START)
    assert advance(fold(journal[:1]), journal[1]) == fold(journal)


def test_an_effect_that_was_started_is_done_again_under_its_number() -> None:
    serving = fold(entries(STARTED, START))
    assert serving.warm == (1,)
    assert serving.pending == NumberedEffect(1, StartRevision(1))
    assert isinstance(next_action(serving, 103.0), Observe)
    gone = fold(entries(STARTED, START, looked({1: "absent"})))
    assert next_action(gone, 103.0) == Perform(NumberedEffect(1, StartRevision(1)))


def looked(states: dict[int, str]) -> tuple[str, dict[str, Any]]:
    seen = {str(release): [state, "", 0] for release, state in states.items()}
    observation = {"at": 100.0, "blind": "", "revisions": seen, "counters": None}
    return ("looked", {"observation": observation, "route": None, "claimed": False})


def test_a_wish_to_pause_waits_for_the_controller() -> None:
    serving = fold(entries(STARTED, ("pause-requested", {"reason": "lunch"})))
    assert serving.rollout is not None
    assert serving.rollout.phase is Phase.LOADING
    assert next_action(serving, 103.0) == Record("phase-entered", {"phase": "paused"})


@pytest.mark.parametrize(
    ("bodies", "says"),
    [
        ([STARTED, STARTED], "while another is under way"),
        ([("rollout-started", {**STARTED[1], "baseline": 7})], "not live"),
        ([("effect-confirmed", {"effect": 1, "observed": {}})], "was not started"),
        ([STARTED, ("effect-started", {**START[1], "effect": 5})], "skips an effect's number"),
        ([STARTED, ("phase-entered", {"phase": "baking"})], "enters baking from loading"),
        ([STARTED, ("phase-entered", {"phase": "loaded"})], "without admission"),
        ([STARTED, ("phase-entered", {"phase": "asleep"})], "cannot be read"),
        ([STARTED, ("step-entered", {"step": 0, "weight": 10})], "while loading"),
        ([STARTED, ("rollout-ended", {"outcome": "settled"})], "ends settled while loading"),
        ([("step-entered", {"step": 0, "weight": 10})], "belongs to no rollout"),
        ([("rollback-requested", {"to": 1, "reason": ""})], "nothing is live"),
        ([STARTED, ("rollback-requested", {"to": 1, "reason": ""})], "the release it leaves"),
        ([STARTED, ("decided", {"decision": "advance"})], "decides to advance while loading"),
        ([STARTED, ("decided", {"decision": "guess"})], "cannot be read"),
        (
            [
                STARTED,
                ("effect-started", NumberedEffect(1, WriteRoute((Share(1, 100),))).to_json()),
            ],
            "not admitted",
        ),
    ],
)
def test_what_cannot_have_happened_is_refused(
    bodies: list[tuple[str, dict[str, Any]]], says: str
) -> None:
    with pytest.raises(IntegrityError) as caught:
        fold(entries(*bodies))
    assert says in str(caught.value)
    assert f"entry {len(bodies)}" in str(caught.value)


def effect(number: int, name: str, observed: dict[str, Any], **arguments: Any) -> Bodies:
    return [
        ("effect-started", {"effect": number, "name": name, "arguments": arguments}),
        ("effect-confirmed", {"effect": number, "observed": observed}),
    ]


ROUTED = {"shares": [[1, 100]]}
SERVES: Bodies = [
    STARTED,
    *effect(1, "StartRevision", {"state": "ready"}, release=1),
    *effect(2, "AdmitRevision", {"admitted": True, "checks": []}, release=1),
    ("phase-entered", {"phase": "loaded"}),
    ("phase-entered", {"phase": "promoted"}),
    *effect(3, "WriteRoute", ROUTED, **ROUTED),
]
FIRST: Bodies = [
    *SERVES,
    ("phase-entered", {"phase": "settled"}),
    ("rollout-ended", {"outcome": "settled"}),
]
"""A first release as it was written down when it was not watched yet."""


def second(*steps: Step) -> Bodies:
    """Release 2 is loaded and may begin `steps`."""
    plan = RolloutPlan(steps=(*steps, Step(weight=100))).model_dump(mode="json")
    return [
        *FIRST,
        ("rollout-started", {"rollout": 2, "candidate": 2, "baseline": 1, "plan": plan}),
        *effect(4, "StartRevision", {"state": "ready"}, release=2),
        *effect(5, "AdmitRevision", {"admitted": True, "checks": []}, release=2),
        ("phase-entered", {"phase": "loaded"}),
        ("phase-entered", {"phase": "shifting"}),
    ]


def decides(decision: str, rule: str = "") -> tuple[str, dict[str, Any]]:
    observation = {"at": 100.0, "blind": "", "revisions": {}, "counters": None}
    body = {"decision": decision, "reason": "", "rule": rule, "evidence": {}}
    return ("decided", {**body, "observation": observation})


def test_a_journal_from_before_copies_and_watched_first_releases_is_folded() -> None:
    journal = [*FIRST, ("looked", {**looked({1: "ready"})[1], "route": [[1, 100]]})]
    serving = fold(entries(*journal))
    assert (serving.live, serving.mirror, serving.retry_to) == (1, None, None)
    assert serving.route == (Share(1, 100),)


MANUAL = Step(weight=10, manual=True, who=("ann",))
COPIES = Step(shadow=10)
SKIP = ("skip-requested", {"step": 0, "reason": "enough", "role": ""})


@pytest.mark.parametrize(
    ("bodies", "says"),
    [
        ([*second(MANUAL), decides("promote")], "waits for a person"),
        ([*second(MANUAL), decides("reject")], "rejects a candidate that got traffic"),
        ([*second(MANUAL), ("step-skipped", {"step": 0})], "nobody asked to skip"),
        ([*second(MANUAL), SKIP, ("step-skipped", {"step": 0})], "nobody asked to skip"),
        ([*second(COPIES), ("step-entered", {"step": 0, "weight": 0})], "copies are not routed"),
        (
            [*FIRST, ("effect-started", mirrored().to_json())],
            "copies requests to a release that is not admitted",
        ),
    ],
)
def test_no_step_is_left_or_entered_against_its_plan(bodies: Bodies, says: str) -> None:
    with pytest.raises(IntegrityError, match=says):
        fold(entries(*bodies))


def test_only_a_word_of_one_who_may_lets_a_waiting_step_go_on() -> None:
    waiting = [*second(MANUAL), decides("hold", "waits for a person")]
    word = ("resume-requested", {"step": 0, "role": ""})
    assert approved_by([*waiting, word], "ann@desk") == "ann@desk"
    assert approved_by([*waiting, word], "bob") == ""
    assert approved_by([*waiting, ("resume-requested", {"step": 1, "role": ""})], "ann") == ""
    assert approved_by([*second(MANUAL), word], "ann") == "", "it did not wait yet"


def approved_by(bodies: Bodies, actor: str) -> str:
    rollout = fold([replace(entry, actor=actor) for entry in entries(*bodies)]).rollout
    assert rollout is not None
    return rollout.approved_by


def test_copies_alone_may_be_rejected_and_a_skip_is_about_one_step() -> None:
    serving = fold(entries(*second(COPIES), decides("reject")))
    assert serving.rollout is not None
    assert serving.rollout.phase is Phase.REJECTED
    late = ("skip-requested", {"step": 3, "reason": "late", "role": ""})
    rollout = fold(entries(*second(COPIES), late)).rollout
    assert rollout is not None
    assert not rollout.skip_is_due
    skipped = fold(entries(*second(COPIES), SKIP, ("step-skipped", {"step": 0}))).rollout
    assert skipped is not None
    assert (skipped.phase, skipped.step, skipped.reason) == (
        Phase.PROMOTED,
        1,
        "test skipped a step: enough",
    )


def test_an_old_entry_is_refused() -> None:
    journal = entries(STARTED)
    with pytest.raises(IntegrityError, match="not newer"):
        advance(fold(journal), journal[0])


@pytest.mark.parametrize(
    "effect",
    [
        StartRevision(3),
        AdmitRevision(3),
        StopRevision(3),
        WriteRoute((Share(3, 90), Share(4, 10))),
        WriteRoute((Share(3, 90), Share(4, 10)), retry_to=3),
        WriteRoute((Share(3, 100),), Mirror(4, 25)),
        SetAlias("production", 3),
    ],
)
def test_effects_survive_the_journal(
    effect: StartRevision | AdmitRevision | StopRevision | WriteRoute | SetAlias,
) -> None:
    numbered = NumberedEffect(12, effect)
    assert NumberedEffect.from_json(numbered.to_json()) == numbered
