"""How the world is seen: what cannot be seen is left out or named, and never guessed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from registry.errors import FencedError, SluiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from canary.ports import ArmCounters, RevisionStatus, Route
    from pipelines.rollout.acting import World


def statuses(world: World, model: str, releases: Iterable[int]) -> dict[int, RevisionStatus]:
    """Status by release; one that the fleet cannot be asked about is left out."""
    seen = {}
    for release in releases:
        try:
            seen[release] = world.retry(partial(world.fleet.status, model, release))
        except FencedError:
            raise
        except SluiceError:
            continue
    return seen


def running(world: World, model: str) -> tuple[int, ...]:
    """Releases that have a revision; none when the fleet cannot be asked."""
    try:
        return world.retry(lambda: world.fleet.running(model))
    except FencedError:
        raise
    except SluiceError:
        return ()


def route(world: World, model: str) -> Route | None:
    """The route in use; None when there is none or the router cannot be asked."""
    try:
        return world.retry(lambda: world.router.read(model))
    except FencedError:
        raise
    except SluiceError:
        return None


def counters(
    world: World, model: str, slow_ms: int
) -> tuple[Mapping[int, ArmCounters] | None, str]:
    """Totals by release, or None and why they could not be had."""
    try:
        return world.retry(lambda: world.telemetry.read(model, slow_ms)), ""
    except FencedError:
        raise
    except SluiceError as error:
        return None, str(error)
