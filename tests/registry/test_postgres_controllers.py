"""Two controllers that share one PostgreSQL: one acts, the other is held off or takes over."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from canary.rollout import fold
from registry.errors import ConflictError, FencedError, LeaseHeldError
from registry.journal import Journal
from tests.canary.world import Behaviour
from tests.rollout.crashing import Killed, Points, crashing_controller
from tests.rollout.stage import MODEL, QUICK, Stage, after, check_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.rollout.controller import Controller


@pytest.fixture
def stages(postgres_url: str) -> Iterator[tuple[Stage, Stage]]:
    """Two machines: each with connections of its own, in front of one world."""
    with closing(Journal(postgres_url)) as one, closing(Journal(postgres_url)) as two:
        first = Stage(one)
        first.world.watch = check_world
        second = Stage(two, first.world)
        assert first.controller("ann").promote(MODEL, 1, QUICK).outcome == "settled"
        yield first, second


def killing(at: int) -> Points:
    points = Points(at=at, act=lambda: None)
    points.act = points.kill
    return points


def check(stage: Stage, live: int) -> None:
    """The journal is whole and legal, tokens only grow, and traffic is where it says."""
    stage.journal.verify(MODEL)
    assert fold(stage.entries(), model=MODEL).live == live
    assert stage.weights == {live: 100}


def test_while_one_acts_the_other_is_held_off(stages: tuple[Stage, Stage]) -> None:
    first, second = stages
    refused: list[ConflictError] = []

    def contend() -> None:
        with pytest.raises(ConflictError) as caught:
            second.controller("bob").promote(MODEL, 3, QUICK)
        refused.append(caught.value)
        with pytest.raises(LeaseHeldError) as held:
            second.controller("bob").run(MODEL)
        refused.append(held.value)

    done = first.controller("ann", sleep=after(first, 2, contend)).promote(MODEL, 2, QUICK)
    assert done.outcome == "settled"
    assert len(refused) == 2
    assert {entry.actor for entry in second.entries()} == {"ann"}
    check(second, live=2)


def test_who_takes_over_fences_the_other_off(stages: tuple[Stage, Stage]) -> None:
    first, second = stages
    acted: list[str] = []

    def take_over() -> None:
        acted.append(second.controller("bob").rollback(MODEL).outcome)

    with pytest.raises(FencedError, match="taken over by bob"):
        first.controller("ann", sleep=after(first, 3, take_over)).promote(MODEL, 2, QUICK)
    assert acted == ["rolled-back"]
    entries = second.entries()
    bobs = [entry.sequence for entry in entries if entry.actor == "bob"]
    assert bobs == list(range(bobs[0], len(entries) + 1)), "nothing of the other's after it"
    check(first, live=1)


@pytest.mark.parametrize("point", [5, 18, 40])
def test_when_one_is_killed_the_other_goes_on(stages: tuple[Stage, Stage], point: int) -> None:
    first, second = stages
    points = killing(point)
    dying: Controller = crashing_controller(first, points, actor="ann")
    with pytest.raises(Killed):
        dying.promote(MODEL, 2, QUICK)
    begun = second.serving.rollout is not None
    if first.leases.current(MODEL) is not None:
        with pytest.raises(LeaseHeldError):
            second.controller("bob").run(MODEL)
    second.world.sleep(61)
    second.controller("bob").run(MODEL)
    check(second, live=2 if begun else 1)


def test_a_bad_candidate_is_turned_back_by_who_comes_after(stages: tuple[Stage, Stage]) -> None:
    first, second = stages
    first.world.behaviours[2] = Behaviour(error_share=0.5)
    points = killing(30)
    with pytest.raises(Killed):
        crashing_controller(first, points, actor="ann").promote(MODEL, 2, QUICK)
    assert second.controller("bob").resume(MODEL, take_over=True).outcome == "rolled-back"
    check(first, live=1)
