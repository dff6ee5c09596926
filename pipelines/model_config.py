"""`models/NAME.toml`: what a team decided about one model, each table owned by its room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from canary.plan import RolloutPlan
from drift.policy import DriftPolicy
from registry.toml_files import load_toml
from validation.policy import GatePolicy

if TYPE_CHECKING:
    from registry.workspace import Workspace


class ConvertPolicy(BaseModel):
    """`[convert]`: which variants `sluice convert` makes when none is named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variants: tuple[str, ...] = Field(min_length=1)
    memory_gb: float = Field(default=8.0, gt=0)
    """Private memory that the converting child may use, in GiB."""
    timeout_s: float = Field(default=900.0, gt=0)


class ServePolicy(BaseModel):
    """`[serve]`: how Triton runs a release."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_batch_size: int = Field(default=16, ge=1, le=1024)
    queue_delay_us: int = Field(default=2000, ge=0, le=1_000_000)
    """How long a request may wait for others to share its batch, in microseconds."""
    instances: int = Field(default=1, ge=1, le=64)
    threads: int = Field(default=2, ge=1, le=256)
    """Threads of the inference engine in one instance."""


class ModelConfig(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["whisper"]
    convert: ConvertPolicy
    gate: GatePolicy
    serve: ServePolicy = ServePolicy()
    rollout: RolloutPlan
    drift: DriftPolicy = DriftPolicy()


def load_model_config(workspace: Workspace, model: str) -> ModelConfig:
    """Read and check `models/MODEL.toml`. Raises UserError with file, line and key."""
    workspace.require_model(model)
    return load_toml(workspace.model_file(model), ModelConfig)
