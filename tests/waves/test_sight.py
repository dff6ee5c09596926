"""A region that does not answer keeps nobody: neither the looks at others nor what is under way."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from canary.waves_states import Seen
from pipelines.waves.region import Region
from pipelines.waves.sight import Sight
from registry.errors import IntegrityError

from .stage import MODEL, Stage, plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.waves.coordinator import Coordinator

BRIEFLY_S = 0.2


class Slow(Region):
    """A region whose looks wait for `answers`."""

    def __init__(self, name: str, *, answers: bool = True) -> None:
        self.name = name
        self.answers = threading.Event()
        self.looks = 0
        if answers:
            self.answers.set()

    def look(self, model: str) -> Seen:
        assert model == MODEL
        self.looks += 1
        self.answers.wait(30)
        return Seen(live=self.looks)


@pytest.fixture
def slow() -> Iterator[Slow]:
    region = Slow("slow", answers=False)
    yield region
    region.answers.set()


def test_who_does_not_answer_is_cut_off_and_waited_for_once(slow: Slow) -> None:
    quick = Slow("quick")
    sight = Sight({"quick": quick, "slow": slow}, BRIEFLY_S)
    for look in (1, 2, 3):
        seen = sight.see(MODEL, ["quick", "slow", "gone"])
        assert list(seen) == ["quick", "slow", "gone"]
        assert seen["quick"] == Seen(live=look)
        assert seen["slow"] == Seen(cut_off=f"no answer within {BRIEFLY_S} s")
        assert seen["gone"].cut_off == "sluice.toml names it no more"
    assert slow.looks == 1
    slow.answers.set()
    # What it said so late is out of date: it is asked again.
    while (seen := sight.see(MODEL, ["slow"]))["slow"].cut_off:
        time.sleep(0.01)
    assert seen["slow"] == Seen(live=2)


def test_what_is_no_cut_off_is_raised() -> None:
    class Forged(Slow):
        def look(self, _: str) -> Seen:
            raise IntegrityError("the chain is broken")

    with pytest.raises(IntegrityError, match="the chain is broken"):
        Sight({"one": Forged("one")}, BRIEFLY_S).see(MODEL, ["one"])


def impatient(stage: Stage) -> Coordinator:
    one = stage.coordinator()
    one._home = replace(one._home, patience_s=BRIEFLY_S)
    return one


def test_a_region_that_hangs_keeps_no_other_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, answers = Stage.new("eu-west", "us-east"), threading.Event()
    stage.served()
    monkeypatch.setattr(stage.places["us-east"], "reach", lambda _: answers.wait(30))
    try:
        result = impatient(stage).promote(MODEL, 2, plan(waves=tuple(stage.places)))
    finally:
        answers.set()
    assert stage.live() == {"eu-west": 2, "us-east": 1}
    assert (result.outcome, "cut off" in result.reason) == ("paused", True)
    assert stage.places["eu-west"].weights == {2: 100}
