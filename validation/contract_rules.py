"""`[gate.contract]` of `models/NAME.toml`: what an evaluation set must look like to be judged by.

Apart from the check, because a policy is read often and Great Expectations is heavy.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class ContractRules(BaseModel):
    """Rules of the set's own table. What always holds (unique ids, whole clips) needs no key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shortest_s: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """Shortest clip, in seconds; texts have no length."""
    longest_s: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    text_pattern: str = ""
    """Regular expression that every whole reference matches; empty: any text."""
    allowed: dict[str, tuple[str, ...]] = {}
    """Allowed values by column."""
    least_rows: dict[str, Annotated[int, Field(ge=1)]] = {}
    """By column: fewest utterances of each value, those of `allowed` that are absent included."""
    shares: dict[str, tuple[Share, Share]] = {}
    """By column: least and largest share of the utterances that each value may have."""
    least_speakers: int = Field(default=2, ge=1)
    """Of one speaker nobody can tell how far another one would be from it."""
    distinct_texts: bool = False
    """Whether no speaker may have the same normalised reference twice."""
    training: tuple[str, ...] = ()
    """What the model was trained on, relative to the workspace: folders of sets, or files in the
    format of `sha256sum`. No utterance may be in there."""

    @field_validator("text_pattern")
    @classmethod
    def _is_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern

    @field_validator("training")
    @classmethod
    def _are_relative(cls, training: tuple[str, ...]) -> tuple[str, ...]:
        for path in training:
            if not path or PurePosixPath(path).is_absolute():
                raise ValueError(f"{path!r} is not a path relative to the workspace")
        return training

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.shortest_s > self.longest_s:
            raise ValueError("shortest_s is above longest_s, so no clip would do")
        for column, (least, largest) in self.shares.items():
            if least > largest:
                raise ValueError(f"shares.{column}: {least} is above {largest}")
        return self
