"""How each effect is done to the world: read first, change what is not so already, then look.

Every function returns what was seen, for the journal, and raises a SluiceError when the effect
could not be done or not be confirmed. Nothing here knows why an effect is wanted.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from canary.effects import route_to_json
from canary.ports import RevisionState, Route
from canary.rollout import AdmitRevision, SetAlias, StartRevision, StopRevision, WriteRoute
from registry.errors import PermanentEngineError, RetryableEngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from canary.ports import Fleet, Router, Telemetry
    from canary.rollout import Effect

Seen = TypeVar("Seen")

ATTEMPTS = 5
"""Tries of one call that may go through later; with the waits below they take 1.5 s and more."""

FIRST_WAIT_S = 0.1

CONFIRM_LOOKS = 100
CONFIRM_WAIT_S = 0.02
"""A written route is used within milliseconds by Envoy, within a second or two by a gateway."""


def _no_fence() -> None:
    """For calls that change nothing."""


@dataclass(frozen=True, slots=True)
class World:
    """The ports, the aliases of the model registry, and time.

    `clock` is UTC epoch seconds, which somebody may set; `steady` counts seconds from any moment
    and only goes on.
    """

    fleet: Fleet
    router: Router
    telemetry: Telemetry
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    aliases: Callable[[str, str, int], None] | None = None
    """Called with model, alias and release; None when no registry is to be told."""
    attempts: int = ATTEMPTS
    steady: Callable[[], float] | None = None
    """None where nothing but `clock` tells the time: then only a step back is noticed."""

    def retry(self, call: Callable[[], Seen], fence: Callable[[], None] = _no_fence) -> Seen:
        """The call's result; waits longer each time that it raises RetryableEngineError.

        `fence` is called before each new try and raises when this controller may not act any more.
        """
        for attempt in range(self.attempts - 1):
            try:
                return call()
            except RetryableEngineError:
                self.sleep(FIRST_WAIT_S * 2**attempt)
                fence()
        return call()


def act(
    world: World, model: str, effect: Effect, token: int, fence: Callable[[], None]
) -> dict[str, Any]:
    """Do `effect` under the lease's fencing token and return what was seen afterwards.

    Raises what `fence` raises when the lease was lost between two tries.
    """
    return world.retry(lambda: _do(world, model, effect, token), fence)


def _do(world: World, model: str, effect: Effect, token: int) -> dict[str, Any]:
    if isinstance(effect, StartRevision):
        return _start(world, model, effect.release)
    if isinstance(effect, AdmitRevision):
        return _admit(world, model, effect.release)
    if isinstance(effect, WriteRoute):
        route = Route(model, effect.shares, token, effect.mirror, effect.retry_to)
        return _write(world, route)
    if isinstance(effect, StopRevision):
        return _stop(world, model, effect.release)
    return _alias(world, model, effect)


def _start(world: World, model: str, release: int) -> dict[str, Any]:
    before = world.fleet.status(model, release).state
    if before is RevisionState.FAILED:
        world.fleet.stop(model, release)
    if before in (RevisionState.FAILED, RevisionState.ABSENT):
        world.fleet.start(model, release)
    state = world.fleet.status(model, release).state
    if state is RevisionState.ABSENT:
        raise RetryableEngineError(f"release {release} was started but is not there", where=model)
    return {"state": state.value}


def _admit(world: World, model: str, release: int) -> dict[str, Any]:
    admission = world.fleet.admit(model, release)
    return {"admitted": admission.admitted, "checks": [list(check) for check in admission.checks]}


def _write(world: World, route: Route) -> dict[str, Any]:
    if not _written(world, route):
        world.router.write(route)
    for _ in range(CONFIRM_LOOKS):
        seen = world.router.read(route.model)
        if seen is not None and _same(seen, route):
            return route_to_json(seen)
        world.sleep(CONFIRM_WAIT_S)
    raise RetryableEngineError("the router does not use the written route", where=route.model)


def _written(world: World, route: Route) -> bool:
    """Whether the router has the route already, under this token or a newer one.

    Under an older one, a controller that does not know yet that it was fenced off could replace it.
    """
    # A router that cannot be read may still be written to, and going back must not wait.
    with suppress(RetryableEngineError):
        seen = world.router.read(route.model)
        return seen is not None and _same(seen, route) and seen.token >= route.token
    return False


def _same(seen: Route, wanted: Route) -> bool:
    """Whether both send requests and copies alike, whoever wrote them."""
    return replace(seen, token=wanted.token) == wanted


def _stop(world: World, model: str, release: int) -> dict[str, Any]:
    before = world.fleet.status(model, release).state
    if before is RevisionState.ABSENT:
        return {"state": before.value}
    route = world.router.read(model)
    if before is RevisionState.READY and route is not None and route.weight_of(release):
        weight = route.weight_of(release)
        raise PermanentEngineError(f"release {release} still gets {weight} %", where=model)
    world.fleet.stop(model, release)
    state = world.fleet.status(model, release).state
    if state is not RevisionState.ABSENT:
        raise RetryableEngineError(f"release {release} was stopped but is {state}", where=model)
    return {"state": state.value}


def _alias(world: World, model: str, effect: SetAlias) -> dict[str, Any]:
    if world.aliases is not None:
        world.aliases(model, effect.alias, effect.release)
    return {}
