"""Whole rollouts in waves through three regions in memory, by the real controllers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from canary.waves_states import Standing
from registry.errors import ConflictError, EngineError, UserError
from tests.canary.world import Behaviour

from .stage import MODEL, PATIENCE_S, REGIONS, Place, Stage, plan

if TYPE_CHECKING:
    from collections.abc import Callable

EU, US, AP = REGIONS
BAD = Behaviour(error_share=0.5)


@pytest.fixture
def stage() -> Stage:
    return Stage.new().served()


def test_one_region_after_the_other(stage: Stage) -> None:
    result = stage.promote(2)
    assert (result.outcome, stage.live()) == ("settled", dict.fromkeys(REGIONS, 2))
    assert stage.orders()[-3:] == list(REGIONS)
    kinds = stage.kinds()
    last = kinds[kinds.index("waves-ended") :]
    assert [kind for kind in last if kind in {"wave-begun", "wave-settled"}] == [
        "wave-begun",
        "wave-settled",
    ] * 3
    assert stage.aliases == [(MODEL, 2)]
    assert all(2 in place.copies for place in stage.places.values())
    stage.check()


def test_a_rollback_stops_the_rest(stage: Stage) -> None:
    stage.places[US].world.behaviours[2] = BAD
    result = stage.promote(2)
    assert result.outcome == "stopped"
    assert "us-east: more errors" in result.reason
    assert stage.live() == {EU: 2, US: 1, AP: 1}
    assert 2 not in stage.places[AP].copies
    assert stage.aliases == []
    stage.check()


def test_a_rollback_reverts_the_rest_by_policy(stage: Stage) -> None:
    stage.places[AP].world.behaviours[2] = BAD
    result = stage.promote(2, "revert")
    assert (result.outcome, stage.live()) == ("reverted", dict.fromkeys(REGIONS, 1))
    standings = {one.name: one.standing for one in result.regions}
    assert standings == {
        EU: Standing.REVERTED,
        US: Standing.REVERTED,
        AP: Standing.TURNED_BACK,
    }
    stage.check()


def test_a_copy_that_is_not_the_signed_one_begins_no_wave(stage: Stage) -> None:
    stage.places[US].spoiled = True
    result = stage.promote(2)
    assert result.outcome == "paused"
    assert "us-east: release 2 is not the file that was recorded" in result.reason
    assert stage.live() == {EU: 2, US: 1, AP: 1}
    stage.places[US].spoiled = False
    assert stage.coordinator().resume(MODEL).outcome == "settled"
    assert stage.live() == dict.fromkeys(REGIONS, 2)


def once(stage: Stage, kind: str, region: str, act: Callable[[], object]) -> None:
    """While time passes after the next such entry about the region, something else happens."""
    began = len(stage.home.read(MODEL))

    def perhaps() -> None:
        news = stage.home.read(MODEL, began)
        if perhaps in stage.also and (kind, region) in {
            (entry.kind, entry.body.get("region")) for entry in news
        }:
            stage.also.remove(perhaps)
            act()

    stage.also.append(perhaps)


def set_link(stage: Stage, name: str, *, is_cut: bool) -> None:
    stage.places[name].journal.is_cut = is_cut


def cut(stage: Stage, name: str, *, for_s: float) -> None:
    """The link to a region is cut as soon as something waits for it."""
    until = stage.clock() + for_s
    stage.also.append(lambda: set_link(stage, name, is_cut=stage.clock() < until))


@pytest.mark.parametrize("name", REGIONS)
def test_a_region_that_is_away_for_a_while_catches_up(stage: Stage, name: str) -> None:
    cut(stage, name, for_s=PATIENCE_S / 2)
    result = stage.promote(2)
    assert (result.outcome, stage.live()) == ("settled", dict.fromkeys(REGIONS, 2))
    assert {"region-cut-off", "region-returned"} <= set(stage.kinds())
    stage.check()


def test_a_region_that_stays_away_pauses_the_waves_and_keeps_serving(stage: Stage) -> None:
    cut(stage, US, for_s=1e9)
    result = stage.promote(2)
    assert result.outcome == "paused"
    assert result.reason == "us-east: cut off, and waited for during 0.5 minutes"
    assert stage.places[US].weights == {1: 100}
    assert stage.live()[AP] == 1
    # Still away: waited for again, then paused again.
    assert stage.coordinator().resume(MODEL).outcome == "paused"
    stage.also.clear()
    set_link(stage, US, is_cut=False)
    assert stage.coordinator().resume(MODEL).outcome == "settled"
    assert stage.live() == dict.fromkeys(REGIONS, 2)


def test_who_returns_after_the_others_went_back_goes_back_too(stage: Stage) -> None:
    stage.places[AP].world.behaviours[2] = BAD
    once(stage, "wave-begun", AP, lambda: set_link(stage, EU, is_cut=True))
    result = stage.promote(2, "revert")
    assert result.outcome == "reverted"
    assert result.owed == {EU: 1}
    assert stage.live() == {EU: 2, US: 1, AP: 1}
    assert stage.places[EU].weights == {2: 100}
    assert "eu-west" in stage.coordinator().resume(MODEL).reason
    set_link(stage, EU, is_cut=False)
    stage.places[EU].world.vanish(1)
    assert stage.coordinator().resume(MODEL).outcome == "idle"
    assert (stage.live()[EU], stage.state.owed) == (1, {})
    stage.check()


@pytest.mark.parametrize("late", [False, True])
def test_who_is_owed_something_gets_it_before_its_next_wave(stage: Stage, late: bool) -> None:
    stage.places[AP].world.behaviours[2] = BAD
    once(stage, "wave-begun", AP, lambda: set_link(stage, US, is_cut=True))
    assert stage.promote(2, "revert").owed == {US: 1}
    if late:
        once(stage, "wave-begun", EU, lambda: set_link(stage, US, is_cut=False))
    else:
        set_link(stage, US, is_cut=False)
    assert stage.promote(3).outcome == "settled"
    assert stage.state.owed == {}
    assert stage.places[US].serving.history[-1].baseline == 1


def test_a_person_sends_everybody_back(stage: Stage) -> None:
    assert stage.promote(2).outcome == "settled"
    result = stage.coordinator("ann").rollback(MODEL, "complaints")
    assert (result.outcome, stage.live()) == ("reverted", dict.fromkeys(REGIONS, 1))
    assert stage.aliases[-1] == (MODEL, 1)
    with pytest.raises(UserError, match="no region has an earlier release"):
        stage.coordinator("ann").rollback(MODEL)


def test_a_person_takes_over_in_the_middle(stage: Stage) -> None:
    results = []

    def send_back() -> None:
        results.append(stage.coordinator("ann").rollback(MODEL, "complaints"))

    once(stage, "wave-begun", US, send_back)
    with pytest.raises(ConflictError):
        stage.promote(2)
    assert results[0].outcome == "reverted"
    assert stage.live() == dict.fromkeys(REGIONS, 1)
    stage.check()


@pytest.mark.parametrize("policy", ["stop", "revert"])
def test_a_settled_region_that_a_person_sends_back_turns_the_others(
    stage: Stage, policy: Literal["stop", "revert"]
) -> None:
    own = stage.own_controller(EU)
    once(stage, "wave-begun", US, lambda: own.rollback(MODEL, reason="here only"))
    result = stage.promote(2, policy)
    assert result.outcome == {"stop": "stopped", "revert": "reverted"}[policy]
    assert "here only" in result.reason
    assert stage.live() == dict.fromkeys(REGIONS, 1)
    stage.check()


def test_a_region_goes_back_by_itself_while_nobody_coordinates(stage: Stage) -> None:
    assert stage.promote(2).outcome == "settled"
    assert stage.own_controller(US).rollback(MODEL).outcome == "rolled-back"
    assert stage.live() == {EU: 2, US: 1, AP: 2}


def test_inconclusive_in_one_region_pauses_the_waves_until_somebody_resumes(stage: Stage) -> None:
    stage.places[US].world.requests_per_s = 0
    result = stage.promote(2)
    assert result.outcome == "paused"
    assert result.reason.startswith("us-east: ")
    assert (stage.live()[AP], stage.places[US].weights) == (1, {1: 100})
    stage.places[US].world.requests_per_s = 400
    assert stage.coordinator().resume(MODEL).outcome == "settled"
    assert stage.live() == dict.fromkeys(REGIONS, 2)


def test_a_step_waits_for_a_word_from_another_command(stage: Stage) -> None:
    steps = [{"weight": 50, "hold_s": 0.5, "min_requests": 30, "manual": True}, {"weight": 100}]
    chosen = plan(waves=(EU, US), steps=steps)

    def let_go_on() -> None:
        if any(place.serving.rollout and place.serving.rollout.waits for place in asked):
            assert stage.coordinator("ann").resume(MODEL).outcome == "under-way"

    asked = list(stage.places.values())
    stage.also.append(let_go_on)
    assert stage.coordinator().promote(MODEL, 2, chosen).outcome == "settled"
    assert stage.kinds().count("waves-resume-requested") == 0
    assert stage.live() == {EU: 2, US: 2, AP: 1}


def test_a_first_release_has_nothing_behind_it_and_stays() -> None:
    stage = Stage.new()
    stage.places[AP].world.behaviours[1] = Behaviour(fails=True)
    result = stage.promote(1, "revert")
    assert result.outcome == "reverted"
    assert stage.live() == {EU: 1, US: 1, AP: None}
    stage.check()


def test_what_cannot_be_meant_is_refused_before_anything_changes(stage: Stage) -> None:
    before = stage.home.snapshot()
    with pytest.raises(UserError, match="live in every region"):
        stage.promote(1)
    stage.places[EU].journal.is_cut = True
    with pytest.raises(EngineError, match="eu-west: the first region cannot be reached"):
        stage.promote(2)
    assert stage.home.snapshot().entries == before.entries


def test_waves_are_replaced(stage: Stage) -> None:
    stage.places[US].spoiled = True
    assert stage.promote(2).outcome == "paused"
    with pytest.raises(ConflictError, match="on its way through"):
        stage.promote(3)
    stage.places[US].spoiled = False
    chosen = plan()
    assert stage.coordinator().promote(MODEL, 3, chosen, replace=True).outcome == "settled"
    assert stage.live() == dict.fromkeys(REGIONS, 3)


def test_a_rollout_that_somebody_else_began_there_is_left_alone(stage: Stage) -> None:
    place: Place = stage.places[US]
    place.world.requests_per_s = 0
    own = stage.own_controller(US)
    assert own.promote(MODEL, 7, plan(waves=())).outcome == "paused"
    result = stage.promote(2)
    assert (result.outcome, stage.live()[EU]) == ("paused", 2)
    assert "release 7 is rolled out there by somebody else's word" in result.reason
