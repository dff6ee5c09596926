"""What a rollout may do to the world, as numbered values, and what it may ask its controller for.

An effect is written into the journal before it is done and again when looking confirmed it. It can
be repeated: whoever performs it reads the world first and changes only what is not so already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from canary.ports import Mirror, Share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canary.ports import Route
    from canary.states import Outcome

PRODUCTION = "production"
"""The alias in the model registry that names the live release."""


@dataclass(frozen=True, slots=True)
class StartRevision:
    """Ask for a revision; confirmed when the fleet sees it, ready or not."""

    release: int


@dataclass(frozen=True, slots=True)
class AdmitRevision:
    """Check a ready revision; confirmed with the checks, passed or not."""

    release: int


@dataclass(frozen=True, slots=True)
class WriteRoute:
    """Make this the model's route; confirmed when the router says that it uses it.

    `mirror` and `retry_to` as in `canary.ports.Route`.
    """

    shares: tuple[Share, ...]
    mirror: Mirror | None = None
    retry_to: int | None = None


@dataclass(frozen=True, slots=True)
class StopRevision:
    """Stop a revision; confirmed when the fleet does not see it any more."""

    release: int


@dataclass(frozen=True, slots=True)
class SetAlias:
    """Point an alias of the model registry at a release's artifact. Bookkeeping, not traffic."""

    alias: str
    release: int


Effect = StartRevision | AdmitRevision | WriteRoute | StopRevision | SetAlias


@dataclass(frozen=True, slots=True)
class NumberedEffect:
    """An effect with its number, which grows by one over the life of a model."""

    number: int
    effect: Effect

    def to_json(self) -> dict[str, Any]:
        """The body of an `effect-started` entry."""
        arguments: dict[str, Any] = (
            route_to_json(self.effect)
            if isinstance(self.effect, WriteRoute)
            else {"release": self.effect.release}
        )
        if isinstance(self.effect, SetAlias):
            arguments["alias"] = self.effect.alias
        return {
            "effect": self.number,
            "name": type(self.effect).__name__,
            "arguments": arguments,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> NumberedEffect:
        """Undo `to_json`; raises KeyError for an effect that nobody knows."""
        arguments = body["arguments"]
        effect: Effect
        if body["name"] == WriteRoute.__name__:
            effect = route_from_json(arguments)
        elif body["name"] == SetAlias.__name__:
            effect = SetAlias(arguments["alias"], arguments["release"])
        else:
            effect = _BY_NAME[body["name"]](arguments["release"])
        return cls(body["effect"], effect)


_BY_NAME: dict[str, type[StartRevision | AdmitRevision | StopRevision]] = {
    "StartRevision": StartRevision,
    "AdmitRevision": AdmitRevision,
    "StopRevision": StopRevision,
}


@dataclass(frozen=True, slots=True)
class Perform:
    """Write `effect-started`, do it, look, write `effect-confirmed`."""

    effect: NumberedEffect


@dataclass(frozen=True, slots=True)
class Observe:
    """Look at these releases, decide, and wait one tick when nothing changed.

    `counters` and `pairs` say what else is looked at.
    """

    releases: tuple[int, ...]
    counters: bool
    pairs: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """Write this entry: the state moves on with no change of the world."""

    kind: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do. `reason` is one line for a person."""

    outcome: Outcome
    reason: str


Action = Perform | Observe | Record | Done


def whole(release: int) -> tuple[Share, ...]:
    """A route that sends everything to one release."""
    return (Share(release, 100),)


def route_to_json(route: WriteRoute | Route) -> dict[str, Any]:
    """A value for the journal; what a route does not have is left out."""
    value: dict[str, Any] = {"shares": shares_to_json(route.shares)}
    if route.mirror is not None:
        value["mirror"] = [route.mirror.release, route.mirror.percent]
    if route.retry_to is not None:
        value["retry_to"] = route.retry_to
    return value


def route_from_json(value: Mapping[str, Any]) -> WriteRoute:
    """Undo `route_to_json`."""
    mirror = value.get("mirror")
    return WriteRoute(
        shares_from_json(value["shares"]),
        None if mirror is None else Mirror(mirror[0], mirror[1]),
        value.get("retry_to"),
    )


def shares_to_json(shares: tuple[Share, ...]) -> list[list[int]]:
    """A value for the journal: pairs of release and weight."""
    return [[share.release, share.weight] for share in shares]


def shares_from_json(pairs: list[list[int]]) -> tuple[Share, ...]:
    """Undo `shares_to_json`."""
    return tuple(Share(release, weight) for release, weight in pairs)
