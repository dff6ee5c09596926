"""In which order regions get a release: the part of `[rollout]` that a single region never reads.

Which regions there are is the workspace's business; here only their order is checked.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class WavePolicy(BaseModel):
    """`waves`, and what a rollback in one region means for the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    waves: tuple[str, ...] = ()
    """Regions, one a wave; empty: the release is rolled out where the workspace itself serves."""
    on_regional_rollback: Literal["stop", "revert"] = "stop"
    """`stop`: regions that settled keep the release, no further one begins. `revert`: they go back
    too."""
    cut_off_patience_s: float = Field(default=900.0, gt=0, allow_inf_nan=False)
    """How long a region that cannot be reached is waited for."""

    @field_validator("waves")
    @classmethod
    def _names_each_region_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in value if value.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is named twice; a region has one wave")
        return value

    def false_rollback_bound(self, alpha: float) -> float:
        """The most that the chance can be of turning an equally good release back in some region.

        Each region decides with `alpha`; the sum over regions bounds the chance of any (Boole),
        whether their traffic is independent or not.
        """
        return min(1.0, max(1, len(self.waves)) * alpha)
