"""Three regions in memory, each with a world and a journal of its own, and one home journal.

Time is one for all: what one region's controller waits for passes in every region.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from canary.rollout import RolloutPlan, Step, fold
from canary.waves import ModelWaves, fold_waves
from pipelines.rollout.controller import Controller
from pipelines.waves.coordinator import Coordinator
from pipelines.waves.driving import Home
from pipelines.waves.region import Pulse, Region
from registry.errors import IntegrityError, RetryableEngineError
from tests.canary.world import MemoryWorld
from tests.rollout.memory_journal import MemoryJournal, MemoryLeases
from tests.rollout.stage import check_world

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from canary.rollout import ModelServing
    from pipelines.waves.result import WavesResult
    from registry.journal import Entry
    from registry.lease import Leases

MODEL = "speech"
REGIONS = ("eu-west", "us-east", "ap-south")
PATIENCE_S = 30.0

QUICK: dict[str, Any] = {
    "steps": (Step(weight=50, hold_s=0.5, min_requests=30), Step(weight=100)),
    "bake_s": 0.5,
    "no_traffic_s": 5,
    "load_timeout_s": 2,
    "cut_off_patience_s": PATIENCE_S,
}


def plan(
    policy: Literal["stop", "revert"] = "stop", waves: tuple[str, ...] = REGIONS, **values: Any
) -> RolloutPlan:
    return RolloutPlan(waves=waves, on_regional_rollback=policy, **{**QUICK, **values})


class LinkedJournal(MemoryJournal):
    """A region's journal, beyond a link that may be cut."""

    is_cut = False

    def read(self, model: str, after: int = 0, **named: Any) -> tuple[Entry, ...]:
        self.require_link()
        return super().read(model, after, **named)

    def last(self, model: str, *kinds: str) -> Entry | None:
        self.require_link()
        return super().last(model, *kinds)

    def append(self, model: str, kind: str, body: Mapping[str, Any], **named: Any) -> Entry:
        self.require_link()
        return super().append(model, kind, body, **named)

    def permit(self, *_: object, **__: object) -> None:
        self.require_link()

    def require_link(self) -> None:
        if self.is_cut:
            raise RetryableEngineError("no answer in time")


class HomeJournal(MemoryJournal):
    """The home's, without a guard."""

    def permit(self, *_: object, **__: object) -> None:
        pass


@dataclass
class Place:
    """One region: its world, its journal, and the releases in its repository."""

    name: str
    world: MemoryWorld
    journal: LinkedJournal = field(default_factory=LinkedJournal)
    copies: set[int] = field(default_factory=set)
    spoiled: bool = False
    """Whether what arrives there is not what was signed."""

    @property
    def serving(self) -> ModelServing:
        return fold(MemoryJournal.read(self.journal, MODEL), model=MODEL)

    @property
    def weights(self) -> dict[int, int]:
        route = self.world.route
        return {} if route is None else {one.release: one.weight for one in route.shares}

    def reach(self, _: str) -> None:
        self.journal.require_link()

    def bring(self, _: str, release: int) -> dict[str, Any]:
        self.journal.require_link()
        if self.spoiled:
            raise IntegrityError(f"release {release} is not the file that was recorded")
        self.copies.add(release)
        return {"files": 1}


@dataclass
class Stage:
    """Home and regions, and what coordinators said."""

    home: HomeJournal = field(default_factory=HomeJournal)
    places: dict[str, Place] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    aliases: list[tuple[str, int]] = field(default_factory=list)
    also: list[Callable[[], None]] = field(default_factory=list)
    """Called with each passing of time."""
    lives: int = 0

    @classmethod
    def new(cls, *names: str) -> Stage:
        stage = cls()
        for seed, name in enumerate(names or REGIONS):
            world = MemoryWorld(seed=seed + 1)
            world.watch = check_world
            stage.places[name] = Place(name, world)
        return stage

    def clock(self) -> float:
        return next(iter(self.places.values())).world.clock()

    def sleep(self, seconds: float) -> None:
        for place in self.places.values():
            place.world.sleep(seconds)
        for act in list(self.also):
            act()

    def region(self, name: str, pulse: Pulse, holder: str, wrap: Wrap | None = None) -> Region:
        place = self.places[name]
        world, leases = place.world, MemoryLeases(place.journal)
        given = (place.journal, leases, world.fleet, world.router)
        journal, held, fleet, router = given if wrap is None else wrap(*given)
        opens = partial(
            Controller,
            journal,
            held,
            fleet,
            router,
            world.telemetry,
            clock=self.clock,
            sleep=pulse.sleep,
            actor="ci",
            holder=holder,
        )
        bring = place.bring if wrap is None else partial(wrap.bring, place)
        return Region(
            name,
            opens=opens,
            reach=place.reach,
            bring=bring,
            driven=partial(self.is_driven, place, holder),
            orphaned=lambda _: True,
        )

    def is_driven(self, place: Place, holder: str, _: str) -> bool:
        """Other coordinators of these tests are dead; `ann` is alive."""
        lease = place.journal.newest.get(MODEL)
        alive = lease is not None and lease.expires_at > self.clock() and lease.holder == "ann"
        return alive and holder != "ann"

    def coordinator(self, actor: str = "ci", wrap: Wrap | None = None) -> Coordinator:
        self.lives += 1
        holder = f"{actor} {self.lives}"
        pulse, leases = Pulse(self.sleep), MemoryLeases(self.home)
        home = Home(
            journal=self.home if wrap is None else wrap.journal(self.home),
            leases=leases if wrap is None else wrap.leases(leases),
            regions={name: self.region(name, pulse, holder, wrap) for name in self.places},
            pulse=pulse,
            clock=self.clock,
            actor=actor,
            ttl_s=60.0,
            on_event=self.lines.append,
            aliases=lambda *alias: self.aliases.append(alias),
        )
        return Coordinator(home, holder=holder)

    def own_controller(self, name: str) -> Controller:
        """What `sluice rollback --region` uses, without any coordinator."""
        return self.region(name, Pulse(self.sleep), "ann").controller

    def served(self) -> Stage:
        """Release 1 serves everywhere."""
        result = self.coordinator().promote(MODEL, 1, plan(waves=tuple(self.places)))
        assert result.outcome == "settled"
        self.lines.clear()
        self.aliases.clear()
        return self

    def promote(self, release: int, policy: Literal["stop", "revert"] = "stop") -> WavesResult:
        chosen = plan(policy, tuple(self.places))
        return self.coordinator().promote(MODEL, release, chosen)

    @property
    def state(self) -> ModelWaves:
        return fold_waves(self.home.read(MODEL), model=MODEL)

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.home.read(MODEL)]

    def live(self) -> dict[str, int | None]:
        return {name: place.serving.live for name, place in self.places.items()}

    def check(self) -> None:
        """Every region sends all of its traffic to what its own journal calls live."""
        for place in self.places.values():
            serving = place.serving
            if serving.live is not None and serving.rollout is None:
                assert place.weights == {serving.live: 100}, place.name
                assert serving.live in place.world.revisions

    def orders(self) -> list[str]:
        """Regions in the order in which their waves began, of all waves."""
        entries = self.home.read(MODEL)
        return [entry.body["region"] for entry in entries if entry.kind == "wave-begun"]


class Wrap:
    """What a test puts around a region's journal, leases and engines, and around the home's."""

    def __call__(self, journal: Any, leases: Any, fleet: Any, router: Any) -> tuple[Any, ...]:
        return journal, leases, fleet, router

    def journal(self, journal: MemoryJournal) -> Any:
        return journal

    def bring(self, place: Place, model: str, release: int) -> dict[str, Any]:
        return place.bring(model, release)

    def leases(self, leases: Leases) -> Leases:
        return leases
