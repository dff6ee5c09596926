"""The controller: promote, roll back, resume, skip. It holds the model's lease while it acts.

It decides nothing (`canary` does), and knows no engine (the ports do). Every method may be called
again after a crash at any point; a rollback takes the lease over, so it is never blocked. What a
person asks of a rollout that another controller drives is written down, and that one does it.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from canary.fold_wishes import may_let_go_on
from canary.rollout import Outcome, Phase
from pipelines.rollout.acting import World
from pipelines.rollout.driving import Turn
from pipelines.rollout.refusals import check_promotion, rollback_target
from pipelines.rollout.result import RolloutResult, result_of
from pipelines.rollout.taking_up import read_serving
from registry.errors import FencedError, LeaseHeldError, SluiceError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from canary.ports import Fleet, Router, Telemetry
    from canary.rollout import ModelServing, Rollout, RolloutPlan
    from registry.journal import Journal
    from registry.lease import Lease, Leases

DEFAULT_TTL_S = 60.0
"""How long a lease lasts unless it is renewed, which happens at half of it. Stopping or admitting
a revision must take less."""


def _no_roles(_: str, __: str) -> Collection[str]:
    """Where nobody says who has which role, `who` of a step names people only."""
    return ()


class Controller:
    """Drives rollouts of any model, one at a time each.

    `roles` tells the roles of an actor for a model. `clock` is UTC epoch seconds. `steady`, such
    as `time.monotonic`, tells when somebody set it, and then every wait begins anew; without it
    only a step back is noticed.
    """

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
        steady: Callable[[], float] | None = None,
        actor: str,
        holder: str = "",
        on_event: Callable[[str], None] | None = None,
        aliases: Callable[[str, str, int], None] | None = None,
        roles: Callable[[str, str], Collection[str]] = _no_roles,
        ttl_s: float = DEFAULT_TTL_S,
    ) -> None:
        self._world = World(fleet, router, telemetry, clock, sleep, aliases, steady=steady)
        self._journal = journal
        self._leases = leases
        self._actor = actor
        self._holder = holder or actor
        self._on_event = on_event
        self._roles = roles
        self._ttl_s = ttl_s
        self._known: dict[str, ModelServing] = {}
        """What was folded so far, so that a long journal is read once."""

    def serving(self, model: str) -> ModelServing:
        """What the journal says now, of rollouts that ended only the last ones.

        Raises IntegrityError when it tells the impossible.
        """
        self._known[model] = read_serving(self._journal, model, self._known.get(model))
        return self._known[model]

    def promote(
        self,
        model: str,
        candidate: int,
        plan: RolloutPlan,
        *,
        replace: bool = False,
        reason: str = "",
    ) -> RolloutResult:
        """Move the traffic to `candidate` by `plan`, and return how that went.

        With `replace` a rollout under way is first rolled back (a first release, which nothing is
        behind, is left as it is); when that cannot be done, its result is returned and nothing was
        started. Raises ConflictError while another rollout of
        the model is under way, UserError when the candidate is live already, FencedError when
        another controller took over.
        """
        check_promotion(self.serving(model), candidate, replace=replace)
        self._permit(model, "rollout-started", self._beginning(model, candidate, plan, reason))
        replaces = replace and self.serving(model).rollout is not None
        with self._turn(model, take_over=replaces) as turn:
            check_promotion(self.serving(model), candidate, replace=replace)
            if turn.serving.rollout is not None:
                result = self._make_room(turn, f"replaced by release {candidate}")
                if turn.serving.rollout is not None:
                    return result
            turn.look()
            turn.record("rollout-started", self._beginning(model, candidate, plan, reason))
            return turn.drive()

    def rollback(
        self, model: str, to: int | None = None, reason: str = "a person asked"
    ) -> RolloutResult:
        """Go back to release `to`, by default to the one before, whoever is acting on the model.

        The route is written first, when the target is loaded. Raises UserError when there is no
        release to go back to; then nothing is changed and nobody is fenced off.
        """
        target = rollback_target(self.serving(model), to)
        # Before the lease is taken over: who may not roll back must fence nobody off.
        self._permit(model, "rollback-requested", {"to": target, "reason": reason})
        with self._turn(model, take_over=True) as turn:
            return self._leave(turn, rollback_target(self.serving(model), to), reason)

    def abort(self, model: str, reason: str = "a person asked") -> RolloutResult:
        """Roll back the rollout under way, whoever drives it.

        Raises UserError when none is: then the live release is left alone.
        """
        self._under_way(model, "abort")
        return self.rollback(model, reason=reason)

    def resume(self, model: str, *, take_over: bool = False) -> RolloutResult:
        """Go on after a pause, a halt or a crash; without a rollout, bring the live release back.

        Where a step waits for somebody's word, this gives it: UserError unless this actor may.
        The outcome is UNDER_WAY when another controller goes on. `take_over` does not wait for the
        lease of a controller that is known to be dead.
        """
        self._permit(model, "resume-requested", {})
        rollout = self.serving(model).rollout
        if rollout is not None and rollout.waits and rollout.phase is Phase.SHIFTING:
            body = {"step": rollout.step, "role": self._role(model, rollout)}
            return self._wish(model, "resume-requested", body, take_over=take_over)
        with self._turn(model, take_over=take_over) as turn:
            rollout = turn.serving.rollout
            if rollout is not None and rollout.phase in (Phase.PAUSED, Phase.HALTED):
                turn.record("resume-requested", {})
            turn.look()
            return turn.drive()

    def skip(self, model: str, reason: str, *, take_over: bool = False) -> RolloutResult:
        """Go to the next step without waiting for what is left of this one.

        One that is paused or halted goes on with it. The outcome is UNDER_WAY when another
        controller does so. Raises UserError without a reason, when no step is under way, and when
        the step waits for the word of others than this actor.
        """
        if not reason.strip():
            raise UserError("skipping a step needs a reason", where=model)
        self._permit(model, "skip-requested", {})
        rollout = self._under_way(model, "skip")
        paused = rollout.phase in (Phase.PAUSED, Phase.HALTED)
        if (rollout.resumes_in if paused else rollout.phase) is not Phase.SHIFTING:
            raise UserError(f"there is no step to skip while {rollout.phase}", where=model)
        role = self._role(model, rollout) if rollout.current.manual else ""
        body = {"step": rollout.step, "reason": reason, "role": role}
        if not paused:
            return self._wish(model, "skip-requested", body, take_over=take_over)
        self._write_down(model, "skip-requested", body)
        return self.resume(model, take_over=take_over)

    def run(self, model: str, *, take_over: bool = False) -> RolloutResult:
        """Drive what is under way to its end, a pause or a halt; a pause is not ended by this."""
        with self._turn(model, take_over=take_over) as turn:
            turn.look()
            return turn.drive()

    def request_pause(self, model: str, reason: str = "a person asked") -> RolloutResult:
        """Pause the rollout: whoever drives it does so at its next look, and else this call does.

        Raises UserError when no rollout is under way.
        """
        self._under_way(model, "pause")
        self._write_down(model, "pause-requested", {"reason": reason})
        try:
            return self.run(model)
        except LeaseHeldError:
            return result_of(self.serving(model), Outcome.PAUSED, reason)

    def _under_way(self, model: str, verb: str) -> Rollout:
        rollout = self.serving(model).rollout
        if rollout is None:
            reason = f"no rollout is under way, so there is nothing to {verb}"
            raise UserError(reason, where=model)
        return rollout

    def _permit(self, model: str, kind: str, body: Mapping[str, Any]) -> None:
        """Raise UserError now where the journal would refuse the entry later."""
        self._journal.permit(model, kind, body, actor=self._actor, at=self._world.clock())

    def _beginning(
        self, model: str, candidate: int, plan: RolloutPlan, reason: str
    ) -> dict[str, Any]:
        serving = self.serving(model)
        body = {
            "rollout": serving.next_rollout,
            "candidate": candidate,
            "baseline": serving.live,
            "plan": plan.model_dump(mode="json"),
        }
        return body | {"reason": reason} if reason else body

    def _write_down(self, model: str, kind: str, body: Mapping[str, Any]) -> None:
        """Without the lease: whoever drives the rollout finds it at the next look."""
        self._journal.append(model, kind, body, actor=self._actor, at=self._world.clock())

    def _wish(
        self, model: str, kind: str, body: Mapping[str, Any], *, take_over: bool
    ) -> RolloutResult:
        self._write_down(model, kind, body)
        try:
            return self.run(model, take_over=take_over)
        except LeaseHeldError:
            reason = "written down; the controller that drives the rollout goes on with it"
            return result_of(self.serving(model), Outcome.UNDER_WAY, reason)

    def _role(self, model: str, rollout: Rollout) -> str:
        """In which role this actor may let the rollout go on, empty when by name or as anybody."""
        for role in ("", *self._roles(self._actor, model)):
            if may_let_go_on(rollout.current, self._actor, role):
                return role
        raise UserError(
            f"the step waits for {' or '.join(rollout.current.who)}, not for {self._actor}",
            where=model,
            remedy="let one of them resume it, or roll it back",
        )

    def _make_room(self, turn: Turn, reason: str) -> RolloutResult:
        """End the rollout under way: by going back, or as it is where nothing was before it."""
        rollout = turn.serving.rollout
        if rollout is None or rollout.baseline is not None or rollout.before_traffic:
            return self._leave(turn, rollback_target(self.serving(turn.model), None), reason)
        turn.record("settle-requested", {"reason": reason})
        return turn.drive()

    def _leave(self, turn: Turn, target: int | None, reason: str) -> RolloutResult:
        turn.record("rollback-requested", {"to": target, "reason": reason})
        if target is not None:
            turn.glance()
        return turn.drive()

    @contextmanager
    def _turn(self, model: str, *, take_over: bool) -> Iterator[Turn]:
        lease = self._lease(model, take_over=take_over)
        try:
            turn = Turn(
                self._world,
                self._journal,
                self._leases,
                lease,
                self.serving(model),
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
