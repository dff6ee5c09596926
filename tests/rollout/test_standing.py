"""A controller begins where the last rollout ended, and that is where the whole history leads."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from canary.fold import advance, fold
from canary.standing import STANDING, last_only, serving_at, skip_ahead
from canary.states import Belief, EndedRollout, ModelServing
from registry.errors import IntegrityError
from tests.canary.world import Behaviour, MemoryWorld

from .happenings import PLANS
from .stage import MODEL, Stage

if TYPE_CHECKING:
    from registry.journal import Entry

ENDS = {
    "settled": ("by half", Behaviour()),
    "rolled-back": ("by half", Behaviour(error_share=0.6)),
    "rejected": ("by half", Behaviour(fails=True)),
    "compared": ("experiment", Behaviour()),
    "copied": ("copied", Behaviour(memory_mb=200)),
}


@pytest.fixture
def stage() -> Stage:
    """Release 1 serves, and somebody went to release 2 and back by hand."""
    stage = Stage.in_memory(MemoryWorld(requests_per_s=200))
    for release in (1, 2):
        assert stage.controller().promote(MODEL, release, PLANS["at once"]).outcome == "settled"
    assert stage.controller().rollback(MODEL).outcome == "rolled-back"
    return stage


def ends(stage: Stage) -> list[Entry]:
    return [entry for entry in stage.entries() if entry.kind == "rollout-ended"]


@pytest.mark.parametrize("end", ENDS)
def test_an_end_tells_what_the_whole_history_comes_to(stage: Stage, end: str) -> None:
    plan, behaviour = ENDS[end]
    stage.world.behaviours[3] = behaviour
    result = stage.controller().promote(MODEL, 3, PLANS[plan])
    assert result.outcome == ("settled" if end == "copied" else end)
    entries = stage.entries()
    assert len(ends(stage)) == 4
    for entry in ends(stage):
        assert serving_at(entry) == last_only(fold(entries[: entry.sequence], model=MODEL))


def test_a_new_controller_reads_what_came_since(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, asked, controller = ends(stage)[-1].sequence, list[int](), stage.controller()
    controller._known.clear()
    read = stage.journal.read

    def watched(model: str, after: int = 0, **named: Any) -> tuple[Entry, ...]:
        asked.append(after)
        return read(model, after, **named)

    monkeypatch.setattr(stage.journal, "read", watched)
    taken_up = controller.serving(MODEL)
    assert asked == [last]
    monkeypatch.undo()
    assert taken_up == last_only(fold(stage.entries(), model=MODEL))
    assert stage.controller().promote(MODEL, 3, PLANS["by half"]).outcome == "settled"
    assert stage.controller().rollback(MODEL).outcome == "rolled-back"
    assert [one.number for one in stage.serving.history] == [1, 2, 3, 4, 5]
    assert stage.serving.live == 1


def test_from_anywhere_on_the_ends_alone_come_to_the_same(stage: Stage) -> None:
    entries, whole = stage.entries(), fold(stage.entries(), model=MODEL)
    for cut in range(len(entries)):
        before, left = fold(entries[:cut], model=MODEL), entries[cut:]
        serving, passed = skip_ahead(before, left)
        assert passed == (0 if cut > ends(stage)[-1].sequence else ends(stage)[-1].sequence - cut)
        for entry in left[passed:]:
            serving = advance(serving, entry)
        assert serving == whole, cut


def test_no_end_is_passed_that_does_not_tell(stage: Stage) -> None:
    entries = list(stage.entries())
    first = ends(stage)[0]
    entries[first.sequence - 1] = replace(first, body={"outcome": first.body["outcome"]})
    begun = ModelServing(MODEL)
    assert skip_ahead(begun, entries) == (begun, 0)
    assert skip_ahead(begun, []) == (begun, 0)


def test_nothing_that_outlives_a_rollout_is_forgotten(stage: Stage) -> None:
    told = set(ends(stage)[-1].body[STANDING])
    within = {"model", "sequence", "rollout", "starts", "history"}
    assert told - {"ended"} == {field.name for field in fields(ModelServing)} - within
    belief = {field.name for field in fields(Belief)}
    assert belief == set(ends(stage)[-1].body[STANDING]["beliefs"][0])
    beside = {"outcome", "ended_at"}
    assert set(ends(stage)[-1].body[STANDING]["ended"]) == {
        field.name for field in fields(EndedRollout) if field.name not in beside
    }


def test_without_its_word_an_end_is_no_place_to_begin(stage: Stage) -> None:
    entry = ends(stage)[-1]
    body = {name: value for name, value in entry.body.items() if name != STANDING}
    assert serving_at(replace(entry, body=body)) is None


FORGED: dict[str, dict[str, Any]] = {
    "live": {"live": 2},
    "served": {"served": [1, 2]},
    "withdrawn": {"withdrawn": []},
    "route": {"route": [[2, 100]]},
    "alias": {"alias": 2},
    "effects": {"effects": 0},
}


@pytest.mark.parametrize("what", FORGED)
def test_who_folds_the_whole_finds_an_end_that_lies(stage: Stage, what: str) -> None:
    *before, entry = stage.entries()[: ends(stage)[-1].sequence]
    told = {**entry.body[STANDING], **FORGED[what]}
    assert told != entry.body[STANDING]
    forged = replace(entry, body={**entry.body, STANDING: told})
    with pytest.raises(IntegrityError, match="leaves the model elsewhere than it says"):
        fold([*before, forged], model=MODEL)


def test_what_other_statistics_would_say_is_no_lie(stage: Stage) -> None:
    *before, entry = stage.entries()[: ends(stage)[-1].sequence]
    told = entry.body[STANDING]
    ended = {**told["ended"], "first_evidence_at": 5.0}
    beliefs = [{**one, "memory": [1, 2, 3, 4.0]} for one in told["beliefs"]]
    other = replace(
        entry, body={**entry.body, STANDING: {**told, "ended": ended, "beliefs": beliefs}}
    )
    assert fold([*before, other], model=MODEL) == fold([*before, entry], model=MODEL)


@pytest.mark.parametrize(
    "told", [{}, {"live": 1}, {"ended": {}}, [], "x", {"beliefs": [{}]}, {"route": [1]}]
)
def test_a_word_that_cannot_be_read_is_refused(stage: Stage, told: Any) -> None:
    entry = ends(stage)[-1]
    if isinstance(told, dict) and told.keys() & {"beliefs", "route"}:
        told = {**entry.body[STANDING], **told}
    with pytest.raises(IntegrityError, match="cannot be read"):
        serving_at(replace(entry, body={**entry.body, STANDING: told}))
