"""One coordinator's turn with one model's waves: journal first, act, look, until nothing is left.

A turn lasts as long as its lease in the home journal. When that is lost FencedError goes up, and
nothing more is done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from canary.waves import ModelWaves, advance_waves, next_wave_action
from canary.waves_effects import PerformWave, RecordWave, Verb, WaitForRegion, WavesDone
from canary.waves_states import Seen
from pipelines.waves.region import UNDER_WAY
from pipelines.waves.result import WavesResult, waves_result
from pipelines.waves.sight import PATIENCE_S, Sight
from pipelines.waves.telling import told
from registry.errors import FencedError, SluiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from canary.waves_effects import NumberedWaveEffect
    from pipelines.waves.region import Pulse, Region
    from registry.journal import Journal
    from registry.lease import Lease, Leases

LOOK_S = 2.0
"""Between two looks at the other regions while one region's rollout is driven."""
WAIT_S = 1.0
"""Between two looks while nothing can be done."""


class _Otherwise(Exception):  # noqa: N818 - no failure: something else is to be done first
    """What is under way in a region is no longer the next thing to do."""


@dataclass(frozen=True)
class Home:
    """What a coordinator has: the home journal, the regions by name, time, and who it is.

    `clock` is UTC epoch seconds. `aliases` is called with model and release once it serves in every
    region; None when no registry is to be told.
    """

    journal: Journal
    leases: Leases
    regions: Mapping[str, Region]
    pulse: Pulse
    clock: Callable[[], float]
    actor: str
    ttl_s: float
    on_event: Callable[[str], None] = field(default=lambda _: None)
    aliases: Callable[[str, int], None] | None = None
    patience_s: float = PATIENCE_S
    """How long a look waits for a region."""

    def see(self, model: str, names: Iterable[str]) -> dict[str, Seen]:
        """The regions as they are now, as `Sight.see` tells."""
        return self._sight.see(model, names)

    @cached_property
    def _sight(self) -> Sight:
        return Sight(self.regions, self.patience_s)


class WavesTurn:
    """One lease on one model's waves, and the state that the home journal tells."""

    def __init__(self, home: Home, lease: Lease, state: ModelWaves) -> None:
        self.home = home
        self.lease = lease
        self.model = lease.model
        self.state = state
        self._looked_at = 0.0

    def record(self, kind: str, body: Mapping[str, Any]) -> None:
        """Write one entry under the lease and fold it in."""
        home = self.home
        entry = home.journal.append(
            self.model, kind, body, actor=home.actor, at=home.clock(), lease=self.lease
        )
        self._catch_up()
        if line := told(entry):
            home.on_event(line)

    def drive(self) -> WavesResult:
        """Do what is next until nothing is, or until the waves ended."""
        while True:
            self.renew()
            self._catch_up()
            sight = self.home.see(self.model, self._names())
            action = next_wave_action(self.state, sight, self.home.clock())
            if isinstance(action, WavesDone):
                return waves_result(self.state, action.outcome.value, action.reason)
            if isinstance(action, RecordWave):
                self.record(action.kind, action.body)
                if action.kind == "waves-ended":
                    ended = self.state.history[-1]
                    return waves_result(self.state, ended.outcome.value, ended.reason)
            elif isinstance(action, WaitForRegion):
                self.home.pulse.sleeps(WAIT_S)
            else:
                self._perform(action.effect)

    def renew(self) -> None:
        """Keep the lease. Raises FencedError once another coordinator took over."""
        now, ttl_s = self.home.clock(), self.home.ttl_s
        left = self.lease.expires_at - now
        # More than the lease was given for: the clock was set back.
        if left < ttl_s / 2 or left > ttl_s:
            self.lease = self.home.leases.renew(self.lease, now=now, ttl_s=ttl_s)

    def bring_back(self, region: Region) -> None:
        """Without waves: a region that is reached serves again what it should."""
        seen = region.look(self.model)
        if seen.cut_off or (seen.live is None and seen.rolling is None):
            return
        self.home.pulse.beat = self.renew
        try:
            region.go_on(self.model, resumes=True)
        except SluiceError as error:
            self.home.on_event(f"{region.name}: {error}")
        finally:
            self.home.pulse.beat = None

    def _perform(self, numbered: NumberedWaveEffect) -> None:
        self.record("wave-effect-started", numbered.to_json())
        self.home.pulse.beat = lambda: self._beat(numbered)
        try:
            observed = self._do(numbered)
        except _Otherwise as why:
            observed = {"outcome": UNDER_WAY, "reason": str(why)}
        except FencedError as error:
            # In the region, or here, which the next entry tells.
            observed = {"outcome": UNDER_WAY, "reason": str(error)}
        except SluiceError as error:
            body = {"effect": numbered.number, "reason": str(error)}
            self.record("wave-effect-failed", body)
            return
        finally:
            self.home.pulse.beat = None
        self.record("wave-effect-confirmed", {"effect": numbered.number, "observed": observed})
        if observed.get("outcome") == UNDER_WAY:
            self.home.pulse.sleeps(WAIT_S)

    def _do(self, numbered: NumberedWaveEffect) -> dict[str, Any]:
        effect, waves = numbered.effect, self.state.waves
        if effect.verb is Verb.ALIAS:
            if self.home.aliases is not None:
                self.home.aliases(self.model, effect.release)
            return {}
        region = self.home.regions[effect.region]
        if effect.verb is Verb.REPLICATE:
            return region.bring(self.model, effect.release)
        if effect.verb is Verb.GO_BACK:
            why = "" if waves is None else waves.turned_for
            return region.go_back(self.model, effect.release, why or "as the other regions did")
        if effect.verb is Verb.BEGIN and waves is not None:
            place = self.state.order.index(effect.region) + 1
            reason = f"wave {place} of {len(waves.regions)}"
            reason = f"{reason}: {waves.reason}" if waves.reason else reason
            plan = waves.plan.model_copy(update={"waves": ()})
            return region.begin(self.model, effect.release, plan, reason)
        known = waves.of(effect.region) if waves is not None else None
        return region.go_on(self.model, resumes=known is not None and known.goes_on)

    def _beat(self, numbered: NumberedWaveEffect) -> None:
        """While a region's controller waits: keep the lease, and see whether it should go on."""
        now = self.home.clock()
        if 0 <= now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        try:
            self.renew()
            self._look_around(numbered)
        except FencedError as error:
            raise _Otherwise(str(error)) from error
        except SluiceError:
            # The home cannot be asked: the region's own rollout is safe without it.
            return

    def _look_around(self, numbered: NumberedWaveEffect) -> None:
        """Journal what the other regions became; _Otherwise when this one should turn."""
        own = numbered.effect
        sight = self.home.see(self.model, [name for name in self._names() if name != own.region])
        # The region under way counts as one that goes on: its controller judges it.
        sight[own.region] = Seen(rolling=own.release)
        while True:
            self._catch_up()
            action = next_wave_action(self.state, sight, self.home.clock())
            if not isinstance(action, RecordWave) or action.kind == "waves-ended":
                break
            self.record(action.kind, action.body)
        turns = isinstance(action, PerformWave) and action.effect.effect.verb is Verb.GO_BACK
        if isinstance(action, WavesDone) or (turns and own.verb is not Verb.GO_BACK):
            raise _Otherwise("the waves go another way")

    def _names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.state.order, *self.state.owed)))

    def _catch_up(self) -> None:
        for entry in self.home.journal.read(self.model, self.state.sequence):
            self.state = advance_waves(self.state, entry)
