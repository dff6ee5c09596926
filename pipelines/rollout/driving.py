"""One controller's turn with one model: journal first, act, confirm by looking, until it is done.

A turn lasts as long as its lease. When the lease is lost the journal and the router refuse this
controller, FencedError goes up, and nothing more is done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from canary.effects import route_to_json
from canary.rollout import (
    DecisionName,
    Done,
    Observation,
    Observe,
    Perform,
    Record,
    advance,
    decide,
    next_action,
    says_something,
)
from pipelines.rollout import seeing
from pipelines.rollout.acting import act
from pipelines.rollout.pairing import PairReader
from pipelines.rollout.result import result_of
from pipelines.rollout.telling import told
from registry.errors import FencedError, SluiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from canary.rollout import ModelServing, NumberedEffect
    from pipelines.rollout.acting import World
    from pipelines.rollout.result import RolloutResult
    from registry.journal import Journal
    from registry.lease import Lease, Leases

DEFAULT_TICK_S = 0.25
"""Seconds between looks when no plan says otherwise."""

CLOCK_STEP_S = 1.0
"""A clock that went so much further or less far than a steady one between two looks was set."""


class Turn:
    """One lease on one model, and the state that its journal tells."""

    def __init__(  # noqa: PLR0913 - what a controller hands over, each by its type
        self,
        world: World,
        journal: Journal,
        leases: Leases,
        lease: Lease,
        serving: ModelServing,
        *,
        actor: str,
        ttl_s: float,
        on_event: Callable[[str], None] | None,
    ) -> None:
        self.world = world
        self.journal = journal
        self.leases = leases
        self.lease = lease
        self.model = lease.model
        self.actor = actor
        self.ttl_s = ttl_s
        self.on_event = on_event
        self.serving = serving
        self._pairs = PairReader()
        self._times = self._read_clocks()

    def catch_up(self) -> None:
        """Fold in what was written since, by this controller or by a person."""
        for entry in self.journal.read(self.model, self.serving.sequence):
            self.serving = advance(self.serving, entry)

    def record(self, kind: str, body: Mapping[str, Any]) -> None:
        """Write one entry under the lease and fold it in."""
        entry = self.journal.append(
            self.model, kind, body, actor=self.actor, at=self.world.clock(), lease=self.lease
        )
        self.catch_up()
        line = told(entry)
        if line and self.on_event is not None:
            self.on_event(line)

    def drive(self) -> RolloutResult:
        """Do what is next until nothing is, or until a rollout ended and the live release serves.

        Raises FencedError once another controller took over.
        """
        ended = len(self.serving.history)
        while True:
            self._renew()
            self.catch_up()
            if self._clock_was_set():
                # How long anything was held is not known any more; a look begins it anew.
                self.look()
            action = next_action(self.serving, self.world.clock())
            over = len(self.serving.history) > ended and self.serving.rollout is None
            if over and (self.serving.serves or self.serving.live is None):
                self._check_lease()
                latest = self.serving.history[-1]
                return result_of(self.serving, latest.outcome, latest.reason)
            if isinstance(action, Done):
                self._check_lease()
                return result_of(self.serving, action.outcome, action.reason)
            self._follow(action)

    def _follow(self, action: Perform | Observe | Record) -> None:
        if isinstance(action, Perform):
            self._perform(action.effect)
        elif isinstance(action, Observe):
            self._observe(action)
        else:
            self.record(action.kind, action.body)

    def look(self) -> None:
        """See what is so of every known release before acting on a belief."""
        rollout, serving = self.serving.rollout, self.serving
        named = [serving.live, serving.previous]
        if rollout is not None:
            named += [rollout.candidate, rollout.baseline, rollout.target]
        known = {release for release in named if release is not None}
        known |= {*serving.warm, *seeing.running(self.world, self.model)}
        self._look(self.world, sorted(known))

    def glance(self) -> None:
        """Look once at the route and at what may take the traffic: going back waits for no more."""
        rollout = self.serving.rollout
        named = (rollout.target, rollout.baseline) if rollout is not None else ()
        releases = sorted({release for release in named if release is not None})
        self._look(replace(self.world, attempts=1), releases)

    def _look(self, world: World, releases: Iterable[int]) -> None:
        seen = seeing.statuses(world, self.model, releases)
        route = seeing.route(world, self.model)
        body = {
            "observation": Observation(self.world.clock(), seen).to_json(),
            "route": None,
            "claimed": route is not None and route.token >= self.lease.token,
        }
        if route is not None:
            written = route_to_json(route)
            body = {**body, "route": written.pop("shares"), **written}
        self.record("looked", body)

    def _renew(self) -> None:
        left = self.lease.expires_at - self.world.clock()
        # More than the lease was given for: the clock was set back, and would hold it for longer.
        if left < self.ttl_s / 2 or left > self.ttl_s:
            self._check_lease()

    def _clock_was_set(self) -> bool:
        (was, steady_was), (now, steady) = self._times, self._read_clocks()
        self._times = now, steady
        return now < was or abs((now - was) - (steady - steady_was)) > CLOCK_STEP_S

    def _read_clocks(self) -> tuple[float, float]:
        now = self.world.clock()
        return now, now if self.world.steady is None else self.world.steady()

    def _check_lease(self) -> None:
        """Raise FencedError unless the lease is still ours; nobody tells another's outcome."""
        now = self.world.clock()
        self.lease = self.leases.renew(self.lease, now=now, ttl_s=self.ttl_s)

    def _perform(self, numbered: NumberedEffect) -> None:
        self.record("effect-started", numbered.to_json())
        try:
            effect, token = numbered.effect, self.lease.token
            observed = act(self.world, self.model, effect, token, self._check_lease)
        except FencedError:
            raise
        except SluiceError as error:
            self.record("effect-failed", {"effect": numbered.number, "reason": str(error)})
            return
        self.record("effect-confirmed", {"effect": numbered.number, "observed": observed})

    def _observe(self, wanted: Observe) -> None:
        observation = self._observation(wanted)
        decision = decide(self.serving, observation)
        known = self.serving.beliefs
        hold = decision.name is DecisionName.HOLD
        if not hold or says_something(self.serving, observation, decision):
            body = {**decision.to_json(), "observation": observation.to_json()}
            self.record("decided", body)
        if hold and self.serving.beliefs == known:
            rollout = self.serving.rollout
            now = self.world.clock()
            self.world.sleep(rollout.wait_s(now) if rollout else DEFAULT_TICK_S)

    def _observation(self, wanted: Observe) -> Observation:
        seen = seeing.statuses(self.world, self.model, wanted.releases)
        rollout = self.serving.rollout
        if rollout is not None and wanted.pairs:
            counts, blind = self._pairs.read(self.world, self.model, rollout)
            return Observation(self.world.clock(), seen, None, blind, counts)
        if rollout is None or not wanted.counters:
            return Observation(self.world.clock(), seen)
        totals, blind = seeing.counters(self.world, self.model, rollout.plan.slow_ms)
        return Observation(self.world.clock(), seen, totals, blind)
