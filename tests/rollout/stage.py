"""An in-memory world with a real journal, for tests that drive whole rollouts in virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import event

from canary.ports import RevisionState
from canary.rollout import ModelServing, RolloutPlan, Step, advance
from canary.standing import serving_at
from pipelines.rollout.controller import Controller
from registry.journal import Journal
from registry.lease import Leases
from tests.canary.world import MemoryWorld

from .memory_journal import MemoryJournal, MemoryLeases

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from sqlalchemy.engine.interfaces import DBAPIConnection

    from canary.ports import Fleet, Router, Telemetry
    from registry.journal import Entry

    from .memory_journal import Snapshot

MODEL = "speech"

QUICK = RolloutPlan(
    steps=(
        Step(weight=10, hold_s=2, min_requests=50),
        Step(weight=50, hold_s=2, min_requests=100),
        Step(weight=100),
    ),
    bake_s=5,
    no_traffic_s=10,
    load_timeout_s=5,
)


@dataclass
class Stage:
    """A world, its journal, and what the controllers said and which aliases they set."""

    journal: Journal
    world: MemoryWorld = field(default_factory=MemoryWorld)
    lines: list[str] = field(default_factory=list)
    aliases: list[tuple[str, str, int]] = field(default_factory=list)
    folded: ModelServing = field(default_factory=lambda: ModelServing(MODEL))
    taken_up: ModelServing = field(default_factory=lambda: ModelServing(MODEL))
    """What a new controller comes to, which begins at the last end of a rollout."""

    @classmethod
    def at(cls, folder: Path, world: MemoryWorld | None = None) -> Stage:
        journal = Journal(f"sqlite:///{folder / 'journal.db'}")
        # These tests kill controllers, not machines: waiting for the disk would only be slow.
        event.listen(journal.engine, "checkout", do_not_wait_for_the_disk)
        stage = cls(journal, world or MemoryWorld())
        stage.world.watch = check_world
        return stage

    @classmethod
    def in_memory(cls, world: MemoryWorld | None = None, journal: Snapshot | None = None) -> Stage:
        """As `at`, for tests about the order of things and not about the disk."""
        stage = cls(MemoryJournal(journal), world or MemoryWorld())
        stage.world.watch = check_world
        return stage

    @property
    def leases(self) -> Leases:
        if isinstance(self.journal, MemoryJournal):
            return MemoryLeases(self.journal)
        return Leases(self.journal)

    def controller(
        self,
        actor: str = "ci",
        *,
        fleet: Fleet | None = None,
        router: Router | None = None,
        telemetry: Telemetry | None = None,
        sleep: Callable[[float], None] | None = None,
        roles: Callable[[str, str], Collection[str]] = lambda *_: (),
    ) -> Controller:
        controller = Controller(
            self.journal,
            self.leases,
            fleet or self.world.fleet,
            router or self.world.router,
            telemetry or self.world.telemetry,
            clock=self.world.clock,
            sleep=sleep or self.world.sleep,
            steady=self.world.steady,
            actor=actor,
            on_event=self.lines.append,
            roles=roles,
            aliases=lambda *alias: self.aliases.append(alias),
        )
        return self.knowing(controller)

    def knowing(self, controller: Controller) -> Controller:
        """With what a new process would fold first; folding is pure, so it is done once."""
        for entry in self.journal.read(MODEL, self.taken_up.sequence):
            self.taken_up = advance(self.taken_up, entry)
            if entry.kind == "rollout-ended":
                self.taken_up = serving_at(entry) or self.taken_up
        controller._known[MODEL] = self.taken_up
        return controller

    def entries(self) -> tuple[Entry, ...]:
        return self.journal.read(MODEL)

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.entries()]

    def decisions(self) -> list[str]:
        return [entry.body["decision"] for entry in self.entries() if entry.kind == "decided"]

    @property
    def serving(self) -> ModelServing:
        self.journal.verify(MODEL)
        for entry in self.journal.read(MODEL, self.folded.sequence):
            self.folded = advance(self.folded, entry)
        return self.folded

    @property
    def weights(self) -> dict[int, int]:
        route = self.world.route
        return {} if route is None else {share.release: share.weight for share in route.shares}


def do_not_wait_for_the_disk(connection: DBAPIConnection, *_: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=OFF")
    cursor.close()


def check_world(world: MemoryWorld) -> None:
    """After every change: traffic goes only to releases that were admitted and still run."""
    name, argument = world.calls[-1]
    if name == "route":
        assert world.route is not None
        assert sum(share.weight for share in world.route.shares) == 100
        for share in world.route.shares:
            if share.weight:
                assert share.release in world.admitted, f"unadmitted release in {argument}"
    if name == "stop" and world.route is not None:
        failed = world.stopped_as is RevisionState.FAILED
        assert failed or not world.route.weight_of(int(str(argument))), "stopped while serving"


def after(stage: Stage, ticks: int, act: Callable[[], object]) -> Callable[[float], None]:
    """A sleep that calls `act` once, before the given tick."""
    calls = [0]

    def sleep(seconds: float) -> None:
        calls[0] += 1
        if calls[0] == ticks:
            act()
        stage.world.sleep(seconds)

    return sleep


def always(stage: Stage, act: Callable[[], object]) -> Callable[[float], None]:
    """A sleep that calls `act` each time."""

    def sleep(seconds: float) -> None:
        act()
        stage.world.sleep(seconds)

    return sleep
