"""One region as a coordinator uses it: look, replicate, begin, go on, go back.

Every call may be repeated after a crash: the region's own journal says what of it is done. Raises
EngineError where the region's journal or engines cannot be reached.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from canary.rollout import Outcome, Phase
from canary.waves_states import Seen
from registry.errors import EngineError, LeaseHeldError, PermanentEngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from canary.plan import RolloutPlan
    from canary.rollout import ModelServing
    from pipelines.rollout.controller import Controller
    from pipelines.rollout.result import RolloutResult

UNDER_WAY = "under-way"
"""What an effect came to when another controller acts in the region."""


@dataclass
class Pulse:
    """Time as a region's controller spends it: between its looks the coordinator may look up."""

    sleeps: Callable[[float], None]
    beat: Callable[[], None] | None = None

    def sleep(self, seconds: float) -> None:
        """Let time pass; `beat` may raise to end what the controller does."""
        self.tick()
        self.sleeps(seconds)

    def tick(self) -> None:
        """In the middle of something long."""
        if self.beat is not None:
            self.beat()


@dataclass
class Region:
    """Region `name`, by its own controller, and what else a coordinator asks of it by model.

    `opens` makes the controller when the region is first looked at, and raises EngineError while
    its journal cannot be opened. `reach` raises EngineError when its engines do not answer. `bring`
    replicates a release and returns what was verified. `driven` says whether somebody else acts
    there now, `orphaned` whether whoever held its lease last is known to be dead.
    """

    name: str
    opens: Callable[[], Controller]
    reach: Callable[[str], object]
    bring: Callable[[str, int], dict[str, Any]]
    driven: Callable[[str], bool] = field(default=lambda _: False)
    orphaned: Callable[[str], bool] = field(default=lambda _: False)

    @cached_property
    def controller(self) -> Controller:
        """The one that moves its traffic. Raises EngineError as `opens` does."""
        return self.opens()

    def serving(self, model: str) -> ModelServing:
        """What the region's own journal says."""
        return self.controller.serving(model)

    def look(self, model: str) -> Seen:
        """What is so there, or why it cannot be reached."""
        try:
            serving = self.serving(model)
            self.reach(model)
            driven = self.driven(model)
        except EngineError as error:
            return Seen(cut_off=str(error))
        return replace(Seen.of(serving), driven=driven)

    def begin(self, model: str, release: int, plan: RolloutPlan, reason: str) -> dict[str, Any]:
        """Roll the release out here, unless that was done or is under way."""
        serving = self.serving(model)
        if serving.rollout is None and serving.live == release:
            return {"outcome": Outcome.IDLE.value}
        if serving.rollout is not None:
            return self.go_on(model)
        return _told(lambda: self.controller.promote(model, release, plan, reason=reason))

    def go_on(self, model: str, *, resumes: bool = False) -> dict[str, Any]:
        """Drive what is under way, or bring back what should serve; `resumes` ends a pause."""
        act = self.controller.resume if resumes else self.controller.run
        told = _told(lambda: act(model, take_over=self.orphaned(model)))
        if told["outcome"] == Outcome.HALTED and self.serving(model).rollout is None:
            raise PermanentEngineError(told["reason"])
        return told

    def go_back(self, model: str, release: int, reason: str) -> dict[str, Any]:
        """Send everything here to the release; whoever acts here is fenced off."""
        serving = self.serving(model)
        rollout = serving.rollout
        if rollout is None and serving.live == release:
            return self.go_on(model)
        if release not in serving.served:
            self.bring(model, release)
        if _goes_to(serving, release):
            told = _told(lambda: self.controller.run(model, take_over=True))
        else:
            told = _told(lambda: self.controller.rollback(model, release, reason))
        if self.serving(model).rollout is not None or self.serving(model).live != release:
            raise PermanentEngineError(f"release {release} does not serve: {told['reason']}")
        return told


def _goes_to(serving: ModelServing, release: int) -> bool:
    rollout = serving.rollout
    goes = rollout is not None and rollout.phase in (Phase.ROLLING_BACK, Phase.REJECTED)
    return goes and rollout is not None and release in (rollout.target, rollout.baseline)


def _told(act: Callable[[], RolloutResult]) -> dict[str, Any]:
    """How it went, for the journal."""
    try:
        result = act()
    except LeaseHeldError as error:
        return {"outcome": UNDER_WAY, "reason": str(error)}
    return {"outcome": result.outcome.value, "reason": result.reason, "live": result.live}
