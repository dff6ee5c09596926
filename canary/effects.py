"""What a rollout may do to the world, as numbered values, and what it may ask its controller for.

An effect is written into the journal before it is done and again when looking confirmed it. It can
be repeated: whoever performs it reads the world first and changes only what is not so already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from canary.ports import Share

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """Make `shares` the model's route; confirmed when the router says that it uses it."""

    shares: tuple[Share, ...]


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
            {"shares": shares_to_json(self.effect.shares)}
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
            effect = WriteRoute(shares_from_json(arguments["shares"]))
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
    """Look at these releases (and the counters), decide, and wait one tick when nothing changed."""

    releases: tuple[int, ...]
    counters: bool


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


def shares_to_json(shares: tuple[Share, ...]) -> list[list[int]]:
    """A value for the journal: pairs of release and weight."""
    return [[share.release, share.weight] for share in shares]


def shares_from_json(pairs: list[list[int]]) -> tuple[Share, ...]:
    """Undo `shares_to_json`."""
    return tuple(Share(release, weight) for release, weight in pairs)
