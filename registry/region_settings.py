"""What `[regions.NAME]` in `sluice.toml` may say: in what a region differs from the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class RegionSection(BaseModel):
    """`[regions.NAME]`: a fleet, a router and telemetry of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int = Field(default=0, ge=0, le=65535)
    """Of its front door; 0: a free one, chosen when it starts and kept."""
    folder: str = ""
    """Its repository, journal and processes' files, from the workspace; empty: in `.sluice`."""
    journal: str = ""
    """SQLAlchemy URL of its own journal; empty: sqlite in its folder."""
    kubernetes: Mapping[str, Any] = {}
    """Keys of `[kubernetes]` that are others here, such as `context`."""
    telemetry: Mapping[str, Any] = {}
    """Keys of `[telemetry]` that are others here."""
