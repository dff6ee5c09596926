"""What may happen in the state machine's tests: plans, behaviours of releases, and events."""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Any

from canary.ports import RevisionState
from canary.rollout import RolloutPlan, Step
from registry.errors import PermanentEngineError, RetryableEngineError
from tests.canary.world import Behaviour, MemoryWorld

from .memory_journal import MemoryJournal
from .stage import MODEL, Stage

if TYPE_CHECKING:
    from canary.states import ModelServing

    from .memory_journal import Snapshot
    from .suspended import Suspended

RELEASED = (1, 2, 3, 4)

_QUICK: dict[str, Any] = {
    "bake_s": 0.5,
    "no_traffic_s": 4.0,
    "load_timeout_s": 2.0,
    "patience_s": 20.0,
}
_HALF = Step(weight=50, hold_s=0.5, min_requests=30)
_ALL = Step(weight=100)
PLANS = {
    "at once": RolloutPlan(steps=(_ALL,), **_QUICK),
    "by half": RolloutPlan(steps=(_HALF, _ALL), **_QUICK),
    "shadow": RolloutPlan(steps=(Step(shadow=50, hold_s=0.5, min_pairs=20), _HALF, _ALL), **_QUICK),
    "manual": RolloutPlan(
        steps=(
            Step(weight=20, hold_s=0.5, min_requests=20, manual=True, who=("ann",)),
            _HALF,
            _ALL,
        ),
        **_QUICK,
    ),
    "cap": RolloutPlan(
        steps=(Step(weight=20, hold_s=0.5), _HALF, _ALL),
        cap=50,
        retry_to_baseline=True,
        **_QUICK,
    ),
    "experiment": RolloutPlan(steps=(Step(weight=20, hold_s=2.0),), ends_with="return", **_QUICK),
    "copied": RolloutPlan(steps=(_HALF, _ALL), standing_copies=20, **_QUICK),
    "held back": RolloutPlan(
        steps=(_HALF, _ALL), holdback=10, keep_previous=False, retry_to_baseline=True, **_QUICK
    ),
}
BEHAVIOURS = {
    "good": Behaviour(),
    "bad": Behaviour(error_share=0.5),
    "slow": Behaviour(slow_share=0.6),
    "empty": Behaviour(empty_share=0.5, fallback_share=0.3),
    "unfit": Behaviour(unfit=True),
    "broken": Behaviour(fails=True),
    "late": Behaviour(ready_after_s=1.5),
}

EVENTS: list[tuple[str, Any]] = [
    *(("time_passes", seconds) for seconds in (0.1, 1.0, 5.0, 70.0)),
    *(("clock_is_set", seconds) for seconds in (-3600.0, -30.0, 3600.0)),
    *((how, release) for how in ("is_gone", "fails", "crashes") for release in RELEASED[:2]),
    *(("router_restarts", forget) for forget in (False, True)),
    ("machine_restarts", 1),
    *((f"route_{how}_fail", times) for how in ("writes", "reads") for times in (1, 4, 30)),
    *(("counters_fail", times) for times in (1, 4, 30)),
    *((f"journal_is_{how}", times) for how in ("locked", "full") for times in (1, 2)),
]


@cache
def _served() -> tuple[Snapshot, MemoryWorld, ModelServing]:
    stage = Stage.in_memory(MemoryWorld(requests_per_s=100))
    assert stage.controller().promote(MODEL, 1, PLANS["at once"]).outcome == "settled"
    assert isinstance(stage.journal, MemoryJournal)
    return stage.journal.snapshot(), stage.world, stage.serving


class Happenings:
    """A stage where release 1 serves, controllers that stand still on it, and what befalls it."""

    def __init__(self) -> None:
        super().__init__()
        snapshot, world, serving = _served()
        self.stage = Stage.in_memory(copy.deepcopy(world), snapshot)
        self.stage.folded = serving
        self.world = self.stage.world
        self.standing: list[Suspended] = []

    @property
    def journal(self) -> MemoryJournal:
        assert isinstance(self.stage.journal, MemoryJournal)
        return self.stage.journal

    def behave(self, release: int, behaviour: Behaviour) -> None:
        if self.world.state(release) is RevisionState.FAILED:
            self.world.fail(release, "the model does not load")  # and does not heal by itself
        self.world.behaviours[release] = behaviour

    def time_passes(self, seconds: float) -> None:
        self.world.sleep(seconds)

    def clock_is_set(self, seconds: float) -> None:
        self.world.clock_set_by_s += seconds

    def is_gone(self, release: int) -> None:
        self.world.vanish(release)

    def fails(self, release: int) -> None:
        if release in self.world.revisions:
            self.world.fail(release)

    def crashes(self, release: int) -> None:
        if release in self.world.revisions:
            self.world.revisions[release].restarts += 1

    def router_restarts(self, forget: bool) -> None:
        self.world.restart_router(forget_route=forget)

    def machine_restarts(self, times: int) -> None:
        assert times
        self.kill_all()
        self.world.vanish()
        self.world.restart_router()

    def kill_all(self) -> None:
        for one in self.standing:
            one.kill()
        self.standing.clear()

    def route_writes_fail(self, times: int) -> None:
        self.world.route_write_failures = times

    def route_reads_fail(self, times: int) -> None:
        self.world.lost_confirmations = times

    def counters_fail(self, times: int) -> None:
        self.world.telemetry_failures = times

    def journal_is_locked(self, times: int) -> None:
        reason = "another process kept the database locked for 10 s"
        self.journal.failures = [RetryableEngineError(reason, where="journal.db")] * times

    def journal_is_full(self, times: int) -> None:
        reason = "the disk is full; nothing was changed"
        self.journal.failures = [PermanentEngineError(reason, where="journal.db")] * times
