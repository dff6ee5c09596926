"""What a coordinator may do to a region, as numbered values, and what it may be asked for.

An effect is journaled before it is done and again when looking confirmed it. It can be repeated:
the region's own journal says what of it is done already.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from canary.waves_states import WavesOutcome


class Verb(StrEnum):
    """What is done there."""

    REPLICATE = "replicate"
    """Bring the release's files into the region's repository, and verify them by hash."""
    BEGIN = "begin"
    """Begin the region's rollout of the release."""
    GO_ON = "go-on"
    """Drive the region's rollout, or resume it where it stands still."""
    GO_BACK = "go-back"
    """Send the region back to the release."""
    ALIAS = "alias"
    """Point the model registry's production alias at the release: it serves everywhere."""


@dataclass(frozen=True, slots=True)
class WaveEffect:
    """`verb` done to `region` with `release`; an alias has no region."""

    verb: Verb
    region: str
    release: int


@dataclass(frozen=True, slots=True)
class NumberedWaveEffect:
    """An effect with its number, which grows by one over the life of a model."""

    number: int
    effect: WaveEffect

    def to_json(self) -> dict[str, Any]:
        """The body of a `wave-effect-started` entry."""
        effect = self.effect
        return {
            "effect": self.number,
            "name": effect.verb.value,
            "region": effect.region,
            "release": effect.release,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> NumberedWaveEffect:
        """Undo `to_json`; raises ValueError for a verb that nobody knows."""
        return cls(body["effect"], WaveEffect(Verb(body["name"]), body["region"], body["release"]))


@dataclass(frozen=True, slots=True)
class PerformWave:
    """Write `wave-effect-started`, do it, look, write `wave-effect-confirmed`."""

    effect: NumberedWaveEffect


@dataclass(frozen=True, slots=True)
class RecordWave:
    """Write this entry: the state moves on with no change of any region."""

    kind: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WaitForRegion:
    """Nothing can be done before `region` is reached, or left alone by others, until `until`."""

    region: str
    until: float


@dataclass(frozen=True, slots=True)
class WavesDone:
    """Nothing is left to do. `reason` is one line for a person."""

    outcome: WavesOutcome
    reason: str


WaveAction = PerformWave | RecordWave | WaitForRegion | WavesDone
