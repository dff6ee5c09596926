"""The controller: promote, roll back, resume. It holds the model's lease while it acts.

It decides nothing (`canary` does), and knows no engine (the ports do). Every method may be called
again after a crash at any point; a rollback takes the lease over, so it is never blocked.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from canary.rollout import ModelServing, Outcome, Phase, fold
from pipelines.rollout.acting import World
from pipelines.rollout.driving import Turn
from pipelines.rollout.result import RolloutResult, result_of
from registry.errors import ConflictError, FencedError, LeaseHeldError, SluiceError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from canary.ports import Fleet, Router, Telemetry
    from canary.rollout import RolloutPlan
    from registry.journal import Journal
    from registry.lease import Lease, Leases

DEFAULT_TTL_S = 60.0
"""How long a lease lasts unless it is renewed, which happens at half of it. Stopping or admitting
a revision must take less."""


class Controller:
    """Drives rollouts of any model, one at a time each. `clock` is UTC epoch seconds."""

    def __init__(  # noqa: PLR0913 - its three ports, and what it takes from outside by name
        self,
        journal: Journal,
        leases: Leases,
        fleet: Fleet,
        router: Router,
        telemetry: Telemetry,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        actor: str,
        holder: str = "",
        on_event: Callable[[str], None] | None = None,
        aliases: Callable[[str, str, int], None] | None = None,
        ttl_s: float = DEFAULT_TTL_S,
    ) -> None:
        self._world = World(fleet, router, telemetry, clock, sleep, aliases)
        self._journal = journal
        self._leases = leases
        self._actor = actor
        self._holder = holder or actor
        self._on_event = on_event
        self._ttl_s = ttl_s

    def serving(self, model: str) -> ModelServing:
        """What the journal says now. Raises IntegrityError when it tells the impossible."""
        return fold(self._journal.read(model), model=model)

    def promote(self, model: str, candidate: int, plan: RolloutPlan) -> RolloutResult:
        """Move the traffic to `candidate` by `plan`, and return how that went.

        Raises ConflictError while another rollout of the model is under way, UserError when the
        candidate is live already, FencedError when another controller took over.
        """
        self._check_promotion(model, candidate)
        with self._turn(model, take_over=False) as turn:
            self._check_promotion(model, candidate)
            turn.look()
            body = {
                "rollout": turn.serving.next_rollout,
                "candidate": candidate,
                "baseline": turn.serving.live,
                "plan": plan.model_dump(mode="json"),
            }
            turn.record("rollout-started", body)
            return turn.drive()

    def rollback(
        self, model: str, to: int | None = None, reason: str = "a person asked"
    ) -> RolloutResult:
        """Go back to release `to`, by default to the one before, whoever is acting on the model.

        The route is written first, when the target is loaded. Raises UserError when there is no
        release to go back to; then nothing is changed and nobody is fenced off.
        """
        self._target(model, to)
        with self._turn(model, take_over=True) as turn:
            target = self._target(model, to)
            turn.record("rollback-requested", {"to": target, "reason": reason})
            if target is not None:
                turn.glance(target)
            return turn.drive()

    def resume(self, model: str, *, take_over: bool = False) -> RolloutResult:
        """Go on after a pause, a halt or a crash; without a rollout, bring the live release back.

        `take_over` does not wait for the lease of a controller that is known to be dead.
        """
        with self._turn(model, take_over=take_over) as turn:
            rollout = turn.serving.rollout
            if rollout is not None and rollout.phase in (Phase.PAUSED, Phase.HALTED):
                turn.record("resume-requested", {})
            turn.look()
            return turn.drive()

    def run(self, model: str, *, take_over: bool = False) -> RolloutResult:
        """Drive what is under way to its end, a pause or a halt; a pause is not ended by this."""
        with self._turn(model, take_over=take_over) as turn:
            turn.look()
            return turn.drive()

    def request_pause(self, model: str, reason: str = "a person asked") -> RolloutResult:
        """Pause the rollout: whoever drives it does so at its next look, and else this call does.

        Raises UserError when no rollout is under way.
        """
        if self.serving(model).rollout is None:
            raise UserError("no rollout is under way, so there is nothing to pause", where=model)
        at = self._world.clock()
        self._journal.append(model, "pause-requested", {"reason": reason}, actor=self._actor, at=at)
        try:
            return self.run(model)
        except LeaseHeldError:
            return result_of(self.serving(model), Outcome.PAUSED, reason)

    def _check_promotion(self, model: str, candidate: int) -> None:
        serving = self.serving(model)
        rollout = serving.rollout
        if rollout is not None:
            raise ConflictError(
                f"release {rollout.candidate} is being rolled out ({rollout.phase})",
                where=model,
                remedy="wait for it, `sluice resume` it or `sluice rollback` it",
            )
        if candidate == serving.live:
            raise UserError(f"release {candidate} is live already", where=model)

    def _target(self, model: str, to: int | None) -> int | None:
        """Where a rollback leads; None when a first release only has to be given up."""
        serving = self.serving(model)
        rollout = serving.rollout
        if rollout is None:
            leaves, target = serving.live, serving.previous if to is None else to
        else:
            leaves, target = rollout.candidate, rollout.baseline if to is None else to
        if target is None and rollout is not None and rollout.before_traffic:
            return None
        if leaves is None or target is None:
            raise UserError(
                "there is no earlier healthy release to go back to",
                where=model,
                remedy="name one that was published: `sluice rollback NAME --to RELEASE`",
            )
        if target == leaves:
            raise UserError(f"release {target} is the one to be left", where=model)
        return target

    @contextmanager
    def _turn(self, model: str, *, take_over: bool) -> Iterator[Turn]:
        lease = self._lease(model, take_over=take_over)
        try:
            turn = Turn(
                self._world,
                self._journal,
                self._leases,
                lease,
                actor=self._actor,
                ttl_s=self._ttl_s,
                on_event=self._on_event,
            )
            yield turn
        except FencedError:
            raise
        except BaseException:
            with suppress(SluiceError):
                self._leases.release(lease)
            raise
        self._leases.release(lease)

    def _lease(self, model: str, *, take_over: bool) -> Lease:
        now = self._world.clock()
        take = self._leases.take_over if take_over else self._leases.acquire
        return take(model, self._holder, now=now, ttl_s=self._ttl_s)
