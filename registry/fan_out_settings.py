"""`[evaluation]` and `[conversion]`: how much of a command's work is done at a time, and where."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class FanOut(BaseModel):
    """Work in parts. What comes out does not depend on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shards: int = Field(default=1, ge=1, le=256)
    """Parts of the work that are done at a time, each by a process of its own."""
    runner: Literal["local", "dask"] = "local"
    """What waits for them: threads of this process, or processes of a Dask cluster of this
    machine."""


class EvaluationSection(FanOut):
    """`[evaluation]`: how a set is scored; a part is asked of a private revision of its own."""

    keep_answers_days: int = Field(default=90, ge=0, le=36_500)
    """Stored answers that no gate used for so long are deleted; 0: they are kept."""


class ConversionSection(FanOut):
    """`[conversion]`: how variants are made; each part opens the model in a child of its own.

    So each needs the memory of one, and footprints of parts that run beside each other are those
    of a busy machine.
    """
