"""`models/NAME.toml`: what a team decided about one model, each table owned by its room."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from canary.plan import RolloutPlan
from drift.policy import DriftPolicy
from model_repository.config import Batching
from model_repository.programs.common.records import LOG_TEXT
from pipelines.conversion.kinds import KINDS
from registry.files import canonical_json
from registry.toml_files import load_toml
from validation.policy import GatePolicy

if TYPE_CHECKING:
    from registry.workspace import Workspace


class ConvertPolicy(BaseModel):
    """`[convert]`: which variants `sluice convert` makes when none is named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variants: tuple[str, ...] = Field(min_length=1)
    calibration: str = ""
    """Folder of the calibration set, relative to the workspace; empty: none."""
    calibration_sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    """Hash that pins it."""
    memory_gb: float = Field(default=8.0, gt=0)
    """Private memory that the converting child may use, in GiB."""
    timeout_s: float = Field(default=900.0, gt=0)

    @model_validator(mode="after")
    def _pins_its_calibration(self) -> Self:
        if bool(self.calibration) != bool(self.calibration_sha256):
            raise ValueError("calibration and calibration_sha256 are given together")
        return self


class ServePolicy(BaseModel):
    """`[serve]`: how Triton runs a release."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_batch_size: int = Field(default=16, ge=1, le=1024)
    queue_delay_us: int = Field(default=2000, ge=0, le=1_000_000)
    """How long a request may wait for others to share its batch, in microseconds."""
    instances: int = Field(default=1, ge=1, le=64)
    threads: int = Field(default=2, ge=1, le=256)
    """Threads of the inference engine in one instance."""
    device: str = Field(default="CPU", pattern=r"^[A-Za-z0-9_.:,]+$")
    """OpenVINO's device, or an order of several such as `AUTO:NPU,GPU,CPU`."""
    response_cache_mb: int = Field(default=0, ge=0, le=65_536)
    """A network's outputs kept for batches that come again, in MiB; 0: none are."""
    options: dict[str, str | int | float | bool] = {}
    """The kind's own settings."""


class RecordsPolicy(BaseModel):
    """`[records]`: what is kept of a request beyond its measures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    texts: Literal["none", "redacted"] = "none"
    """`redacted`: what was asked and answered in text, without what a pattern finds in it."""


class ModelConfig(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    convert: ConvertPolicy
    gate: GatePolicy
    serve: ServePolicy = ServePolicy()
    rollout: RolloutPlan
    drift: DriftPolicy = DriftPolicy()
    records: RecordsPolicy = RecordsPolicy()

    @field_validator("rollout")
    @classmethod
    def _promotes(cls, plan: RolloutPlan) -> RolloutPlan:
        if plan.returns or plan.compares:
            raise ValueError("`sluice experiment` sets ends_with and compares; leave them out")
        return plan

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"there are {', '.join(KINDS)}")
        return kind

    @model_validator(mode="after")
    def _suits_its_kind(self) -> Self:
        kind = KINDS[self.kind]
        if unknown := sorted(set(self.serve.options) - set(kind.options)):
            known = ", ".join(kind.options) or "none"
            raise ValueError(f"serve.options.{unknown[0]} is not one of {self.kind}'s: {known}")
        if self.serve.response_cache_mb and kind.serving != "network":
            raise ValueError(
                "serve.response_cache_mb: Triton's cache does not see a request's parameters, so "
                f"only kinds whose network stands alone may use it; {self.kind} has none"
            )
        return self

    @property
    def batching(self) -> Batching:
        """`[serve]` as the repository's configuration takes it, the kind's defaults filled in."""
        options = {**KINDS[self.kind].defaults, **self.serve.options}
        if self.records.texts != "none":
            # Part of a release: what is kept of people's words changes with a new one only.
            options[LOG_TEXT] = self.records.texts
        values = self.serve.model_dump() | {"options": {k: _text(v) for k, v in options.items()}}
        return Batching(**values)

    @property
    def serve_digest(self) -> str:
        """SHA-256 of how a release is served: another policy is another release."""
        return hashlib.sha256(canonical_json(dataclasses.asdict(self.batching))).hexdigest()


def load_model_config(workspace: Workspace, model: str) -> ModelConfig:
    """Read and check `models/MODEL.toml`. Raises UserError with file, line and key.

    A policy that names a normaliser of the user's own finds its module in the workspace.
    """
    workspace.require_model(model)
    config = load_toml(workspace.model_file(model), ModelConfig)
    root = str(workspace.root)
    if ":" in config.gate.normaliser and root not in sys.path:
        sys.path.append(root)
    return config


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
