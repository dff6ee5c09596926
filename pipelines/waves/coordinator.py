"""The coordinator: brings one release through the regions, in order, or sends all of them back.

It decides nothing (`canary.waves` does), and moves no traffic (each region's controller does). It
holds the model's lease in the home journal while it acts. Every method may be called again after a
crash at any point; a rollback takes the lease over, so it is never blocked.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from canary.waves import ModelWaves, fold_waves
from pipelines.waves.asking import check_start, require_first, targets_of
from pipelines.waves.driving import Home, WavesTurn
from pipelines.waves.region import UNDER_WAY
from pipelines.waves.result import WavesResult, waves_result
from registry.errors import FencedError, SluiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canary.plan import RolloutPlan
    from pipelines.waves.region import Region

DEFAULT_TTL_S = 60.0
"""How long the home's lease lasts unless it is renewed. Replicating a release must take less."""


class Coordinator:
    """Drives the waves of any model, one release at a time each."""

    def __init__(self, home: Home, *, holder: str = "") -> None:
        self._home = home
        self._holder = holder or home.actor

    def state(self, model: str) -> ModelWaves:
        """What the home journal says now. Raises IntegrityError when it tells the impossible."""
        return fold_waves(self._home.journal.read(model), model=model)

    def promote(
        self,
        model: str,
        candidate: int,
        plan: RolloutPlan,
        *,
        replace: bool = False,
        reason: str = "",
    ) -> WavesResult:
        """Bring the candidate through the plan's regions, one after the other.

        With `replace`, waves under way are first sent back; should that not end, its result is
        returned and nothing was started. Raises ConflictError while waves are under way, UserError
        when the candidate serves everywhere, EngineError when the first region cannot be reached;
        then nothing is changed.
        """
        self._permit(model, "waves-started", {})
        seen = self._home.see(model, plan.waves)
        check_start(self.state(model), candidate, seen, replace=replace)
        with self._turn(model, take_over=replace) as turn:
            if turn.state.waves is not None and replace:
                body = {"reason": f"replaced by release {candidate}"}
                turn.record("waves-rollback-requested", body)
            if turn.state.owed or turn.state.waves is not None:
                result = turn.drive()
                if turn.state.waves is not None:
                    return result
            check_start(turn.state, candidate, self._home.see(model, plan.waves))
            turn.record("waves-started", _beginning(turn.state, candidate, plan, reason))
            return turn.drive()

    def rollback(self, model: str, reason: str = "a person asked") -> WavesResult:
        """Send every region back to what it served before, whoever acts on the model.

        Raises UserError when no region has anything to go back to; then nothing is changed.
        """
        self._permit(model, "waves-rollback-requested", {"reason": reason})
        self._way_back(model)
        with self._turn(model, take_over=True) as turn:
            body = {"reason": reason, **self._way_back(model)}
            turn.record("waves-rollback-requested", body)
            return turn.drive()

    def resume(self, model: str, *, take_over: bool = False) -> WavesResult:
        """Go on after a pause or a crash; without waves, bring back what each region should serve.

        A region whose rollout waits for somebody's word is given this actor's, whoever drives it.
        Raises LeaseHeldError while another coordinator drives the waves and none waits.
        """
        self._permit(model, "waves-resume-requested", {})
        if not take_over and self._is_driven(model) and self._give_word(model):
            return waves_result(self.state(model), UNDER_WAY, "written down in the region")
        with self._turn(model, take_over=take_over) as turn:
            turn.record("waves-resume-requested", {})
            if turn.state.waves is None:
                for region in self._home.regions.values():
                    turn.bring_back(region)
            return turn.drive()

    def require_reached(self, model: str, name: str) -> None:
        """Raise EngineError unless the region can be reached now."""
        require_first(self._home.see(model, [name]))

    def region_under_way(self, model: str) -> Region | None:
        """The region whose rollout the waves wait for now; None when there is none."""
        waves = self.state(model).waves
        current = None if waves is None else waves.current
        return None if current is None else self._home.regions.get(current.name)

    def _give_word(self, model: str) -> bool:
        """Let go on what waits for somebody's word; whether any did."""
        regions = self._home.regions
        order = (regions[name] for name in self.state(model).order if name in regions)
        waiting = [region for region in order if region.look(model).waits]
        for region in waiting:
            region.controller.resume(model)
        return bool(waiting)

    def _way_back(self, model: str) -> dict[str, Any]:
        state = self.state(model)
        if state.waves is not None:
            return {}
        return targets_of(state, self._home.see(model, state.order))

    def _permit(self, model: str, kind: str, body: Mapping[str, Any]) -> None:
        """Raise UserError now where the journal would refuse the entry later."""
        home = self._home
        home.journal.permit(model, kind, body, actor=home.actor, at=home.clock())

    def _is_driven(self, model: str) -> bool:
        lease = self._home.leases.current(model)
        return lease is not None and lease.expires_at > self._home.clock()

    @contextmanager
    def _turn(self, model: str, *, take_over: bool) -> Iterator[WavesTurn]:
        home = self._home
        take = home.leases.take_over if take_over else home.leases.acquire
        lease = take(model, self._holder, now=home.clock(), ttl_s=home.ttl_s)
        turn = WavesTurn(home, lease, self.state(model))
        try:
            yield turn
        except FencedError:
            raise
        except BaseException:
            with suppress(SluiceError):
                home.leases.release(turn.lease)
            raise
        home.leases.release(turn.lease)


def _beginning(state: ModelWaves, candidate: int, plan: RolloutPlan, reason: str) -> dict[str, Any]:
    body = {
        "waves": state.next_number,
        "candidate": candidate,
        "regions": list(plan.waves),
        "plan": plan.model_dump(mode="json"),
    }
    return body | {"reason": reason} if reason else body
