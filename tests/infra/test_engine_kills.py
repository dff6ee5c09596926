"""Engines that are killed while a rollout is under way, on real ones."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from canary.ports import Share
from canary.rollout import RolloutPlan, Step, fold
from pipelines.rollout.controller import Controller
from registry.journal import Journal
from registry.lease import Leases

from .toys import client, publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from canary.states import ModelServing
    from pipelines.rollout.result import RolloutResult

    from .toys import Door, Served

pytestmark = pytest.mark.engine

PLAN = RolloutPlan(
    steps=(Step(weight=30, hold_s=1.0, min_requests=5), Step(weight=100)),
    bake_s=1.0,
    tick_s=0.1,
    no_traffic_s=20,
    load_timeout_s=30,
    retry_to_baseline=True,
)


class Driven:
    """A model whose release 1 serves, and a controller in a thread."""

    def __init__(self, door: Door, model: str) -> None:
        self.door, self.model = door, model
        self.journal = Journal(door.workspace.journal_url)
        self.killed: set[str] = set()
        for release in (1, 2):
            publish(door.workspace, model, release)
        self.controller = Controller(
            self.journal,
            Leases(self.journal),
            door.fleet,
            door.router,
            door.telemetry,
            clock=time.time,
            steady=time.monotonic,
            sleep=self.sleep,
            actor="ci",
        )
        self.at_tick: Callable[[ModelServing], object] = lambda _: None
        at_once = RolloutPlan(steps=(Step(weight=100),), bake_s=0, tick_s=0.1)
        assert self.controller.promote(model, 1, at_once).outcome == "settled"

    @property
    def serving(self) -> ModelServing:
        self.journal.verify(self.model)
        return fold(self.journal.read(self.model), model=self.model)

    def sleep(self, seconds: float) -> None:
        self.at_tick(self.serving)
        time.sleep(seconds)

    def promote(self) -> RolloutResult:
        return self.controller.promote(self.model, 2, PLAN)

    def kill(self, program: str) -> None:
        pid = self.door.supervisor.states()[program].pid
        if pid:
            os.kill(pid, signal.SIGKILL)

    def kill_candidate_in(self, phase: str) -> Callable[[ModelServing], object]:
        """At each tick of that phase: so often that starting it again cannot help."""

        def kill(serving: ModelServing) -> None:
            if serving.rollout is not None and serving.rollout.phase == phase:
                self.killed.add(phase)
                self.kill(f"revision-{self.model}-r2")

        return kill

    def close(self) -> None:
        for release in self.door.fleet.running(self.model):
            self.door.fleet.stop(self.model, release)
        self.journal.close()


@pytest.fixture
def driven(door: Door, request: pytest.FixtureRequest) -> Iterator[Driven]:
    case = getattr(request.node, "callspec", None)
    made = Driven(door, f"killed-{case.id if case else 'envoy'}")
    yield made
    made.close()


class Asking:
    """Requests, one after the other, until the block ends."""

    def __init__(self, driven: Driven) -> None:
        self.served: list[Served] = []
        self.unanswered = 0
        self._driven = driven
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        with client() as rest:
            while not self._stop.wait(0.005):
                try:
                    self.served.append(self._driven.door.rest(rest, self._driven.model))
                except OSError:
                    self.unanswered += 1
                except Exception:  # noqa: BLE001 - the front door is gone for a moment
                    self.unanswered += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)


@pytest.mark.parametrize("phase", ["loading", "shifting", "baking"])
def test_a_candidate_that_is_killed_is_left_and_the_baseline_serves(
    driven: Driven, phase: str
) -> None:
    driven.at_tick = driven.kill_candidate_in(phase)
    with Asking(driven) as asking:
        result = driven.promote()
        time.sleep(0.2)
    assert driven.killed == {phase}
    assert result.outcome == ("rejected" if phase == "loading" else "rolled-back")
    assert driven.serving.live == 1
    route = driven.door.router.read(driven.model)
    assert route is not None
    assert route.shares == (Share(1, 100),)
    assert driven.door.fleet.running(driven.model) == (1,)
    assert asking.served[-1].release == 1
    lost = [one for one in asking.served if one.status != 200]
    if phase != "baking":
        # At full traffic nobody is left to answer again.
        assert lost == []


def test_an_envoy_that_is_killed_comes_back_and_the_rollout_goes_on(driven: Driven) -> None:
    def kill_once(serving: ModelServing) -> None:
        under_way = serving.rollout is not None and serving.rollout.held_from is not None
        if under_way and not driven.killed:
            driven.killed.add("envoy")
            driven.kill("envoy")

    driven.at_tick = kill_once
    with Asking(driven) as asking:
        result = driven.promote()
        while result.outcome in {"paused", "halted"}:
            result = driven.controller.resume(driven.model)
        time.sleep(0.2)
    assert driven.killed == {"envoy"}
    assert result.outcome in {"settled", "rolled-back"}
    assert {one.status for one in asking.served} == {200}, "something wrong was served"
    assert {one.text for one in asking.served} <= {"release 1", "release 2"}
    route = driven.door.router.read(driven.model)
    assert route is not None
    assert route.shares == (Share(driven.serving.live or 0, 100),)
