"""The parts of `sluice.toml` about being seen, and about what serving costs."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Price = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
PriceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


def _is_plain_address(value: str) -> bool:
    """Whether it is empty, or an address that other programs' command lines may show."""
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError for one that is no number
    except ValueError:
        return False
    known = parts.scheme in {"http", "https"} and parts.hostname
    return not value or (bool(known) and parts.username is None and value.isprintable())


class TracingSection(BaseModel):
    """`[tracing]`: the OpenTelemetry collector that gets spans; without one they go nowhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str = Field(default="", repr=False)
    """Its base address, such as `http://collector:4318`; `/v1/traces` is added."""
    requests_percent: float = Field(default=0.0, ge=0, le=100)
    """Of the requests at the front door; 0: commands only. Takes effect at `sluice up`."""

    @field_validator("endpoint", mode="before")
    @classmethod
    def _is_an_address(cls, value: object) -> object:
        # Before pydantic looks, whose message would show the value.
        if not isinstance(value, str) or not _is_plain_address(value):
            raise ValueError(
                "must be http://HOST:PORT or https://HOST:PORT without a password; "
                "OTEL_EXPORTER_OTLP_HEADERS holds what a collector asks for"
            )
        return value

    @model_validator(mode="after")
    def _serving_can_send(self) -> Self:
        if self.requests_percent and self.endpoint.startswith("https:"):
            raise ValueError(
                "requests are traced to an http:// collector only; run one beside the front door"
            )
        return self


class LogsSection(BaseModel):
    """`[logs]`: what commands say on standard error while they work."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["words", "json"] = "words"


class PricesSection(BaseModel):
    """`[prices]`: what an hour of a device or a pool costs; nothing is said where it is empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")
    """ISO 4217."""
    hourly: dict[PriceName, Price] = {}
    """By name: `hourly = { cpu = 0.12, gpu-spot = 0.9 }`."""
    measured_on: str = ""
    """Which of them gates measure on; may be left out where there is only one."""

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.measured_on and self.measured_on not in self.hourly:
            raise ValueError(f"measured_on {self.measured_on!r} has no price in hourly")
        if len(self.hourly) > 1 and not self.measured_on:
            raise ValueError("of several prices, measured_on names the one that gates measure on")
        return self

    @property
    def here(self) -> str:
        """The name of what gates measure on; empty without prices."""
        return self.measured_on or next(iter(self.hourly), "")
