"""What `sluice.toml` may say. Every key has a default, so an empty file is a whole workspace.

An environment variable `SLUICE_SECTION__KEY` overrides the file. Kept apart from `workspace.py`
because most commands need a workspace's paths and never its settings.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from registry.errors import UserError
from registry.fan_out_settings import ConversionSection, EvaluationSection
from registry.kubernetes_settings import KubernetesSection
from registry.names import check_name
from registry.observability_settings import LogsSection, PricesSection, TracingSection
from registry.region_settings import RegionSection
from registry.toml_files import load_toml

if TYPE_CHECKING:
    from pathlib import Path

_PREFIX = "SLUICE_"
_DELIMITER = "__"


class ServingSection(BaseModel):
    """`[serving]`: which engines serve, and where Envoy's front door listens on this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    platform: Literal["local", "kubernetes"] = "local"
    """`kubernetes`: revisions and routes stand in the cluster that `[kubernetes]` names."""
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=0, ge=0, le=65535)
    """0: a free one, chosen when serving starts and kept."""
    max_request_mb: int = Field(default=64, ge=1, le=1024)
    """A larger request is refused with 413. A minute of 16 kHz audio is about 20 MB as JSON."""
    requests_per_s: int = Field(default=0, ge=0, le=1_000_000)
    """Of all callers together; what comes faster is refused with 429. 0: no limit."""
    callers: Literal["anyone", "tokens"] = "anyone"
    """`tokens`: a caller must show one, that `sluice callers add` gave out or the issuer below."""
    issuer: str = Field(default="", pattern=r"^\S*$")
    """`iss` of tokens from an identity provider; empty: only this workspace gives out tokens."""
    audience: str = Field(default="", pattern=r"^\S*$")
    """`aud` that the provider's tokens must have."""
    issuer_keys: str = ""
    """The provider's public keys: a JWKS file, from the workspace."""

    @model_validator(mode="after")
    def _provider_is_whole(self) -> Self:
        named = [self.issuer, self.audience, self.issuer_keys]
        if any(named) and not all(named):
            raise ValueError("issuer, audience and issuer_keys belong together")
        return self


class JournalSection(BaseModel):
    """`[journal]`: an SQLAlchemy URL; empty means sqlite inside the workspace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = ""


class StoreSection(BaseModel):
    """`[store]`: buckets behind the workspace's own folders, which stay as their cache."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    artifacts: str = Field(default="", pattern=r"^(s3://\S+|/.*)?$")
    """Of artifacts and variants: `s3://bucket/prefix`, or an absolute folder that is shared."""
    repository: str = Field(default="", pattern=r"^(s3://\S+|/.*)?$")
    """Where each published release is brought to, for those who serve elsewhere."""


class TrackingSection(BaseModel):
    """`[tracking]`: an MLflow tracking URI; empty means sqlite inside the workspace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    uri: str = ""


class TelemetrySection(BaseModel):
    """`[telemetry]`: who counts the traffic; without a `prometheus`, the workspace's own Envoy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prometheus: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """The address of a Prometheus that scrapes the front doors."""
    selector: str = ""
    """Label matchers that part these front doors from others, such as `namespace="speech"`."""
    token_env: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    """The environment variable with the bearer token that Prometheus asks for."""
    fresh_s: float = Field(default=60.0, gt=0, le=600)
    """How long a look waits for a scrape that began after it."""
    dialect: Literal["sluice", "envoy-gateway", "istio"] = "sluice"
    """Whose counters they are: this control plane's Envoy, Envoy Gateway's or Istio's."""


class RecordsSection(BaseModel):
    """`[records]`: where records of past hours go, and how long they are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    archive: str = Field(default="", pattern=r"^(s3://\S+|/.*)?$")
    """`s3://bucket/prefix`, or an absolute folder; empty: they stay in the workspace."""
    keep_days: int = Field(default=0, ge=0, le=36_500)
    """`sluice log prune` deletes what is older; 0: it deletes nothing unless it is told."""


class KeylessSigner(BaseModel):
    """Somebody whom Sigstore vouches for: who signed, by which provider's word."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: str = Field(min_length=1)
    """An address, or the URI of a workflow, as the certificate holds it."""
    issuer: str = Field(pattern=r"^https://\S+$")


class TrustSection(BaseModel):
    """`[trust]`: whose signatures on models from outside count. Paths are from the workspace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    signers: tuple[str, ...] = ()
    """Public keys, PEM."""
    certificates: tuple[str, ...] = ()
    """Certificate authorities, PEM: everybody whom they allow to sign is trusted."""
    keyless: tuple[KeylessSigner, ...] = ()
    """Signers by Sigstore; needs a network, or `sigstore_trust`."""
    sigstore_trust: str = ""
    """A file with Sigstore's trusted root, for a private one or a machine without a network."""
    require_signature: bool = False
    """Whether an unsigned folder is refused."""


NotificationEvent = Literal[
    "advanced",
    "promoted",
    "settled",
    "rolling-back",
    "rolled-back",
    "rejected",
    "compared",
    "paused",
    "waiting",
    "halted",
    "drift-alarm",
    "drift-finding",
    "integrity-broken",
]

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _is_safe_address(value: str) -> bool:
    """Whether nothing is sent in the clear beyond this machine; empty is no address at all."""
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        _ = parts.port  # raises ValueError for one that is no number
    except ValueError:
        return False
    encrypted = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    return not value or (encrypted and bool(host) and value.isprintable())


class IdentitySection(BaseModel):
    """`[identity]`: the issuer of OpenID Connect tokens that say who acts; without it, names do.

    Only the file may say it: an environment variable would be the actor's own word.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str = ""
    """The `iss` of its tokens."""
    audience: str = ""
    """The `aud` that a token for this workspace has."""
    jwks: str = ""
    """The issuer's public keys: an address, or a file in the workspace."""
    username: str = Field(default="sub", min_length=1)
    """The claim that names the actor."""
    groups: str = Field(default="groups", min_length=1)
    """The claim with the actor's groups."""
    required: bool = False
    """Whether a name without a token is refused."""

    @field_validator("jwks")
    @classmethod
    def _is_a_safe_place(cls, value: str) -> str:
        if "://" in value and not _is_safe_address(value):
            raise ValueError("must be a file or an https:// address (http:// on this machine only)")
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        known = (self.issuer, self.audience, self.jwks)
        if (any(known) or self.required) and not all(known):
            raise ValueError("issuer, audience and jwks belong together; give all three")
        return self


class NotificationsSection(BaseModel):
    """`[notifications]`: an address that is told what a rollout decided; empty tells nobody."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    webhook: str = Field(default="", repr=False)
    """Where a signed JSON body is posted. It may hold a token, so no message ever shows it."""
    secret_env: str = Field(default="SLUICE_WEBHOOK_SECRET", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The environment variable with the secret that signs: `whsec_` and base64."""
    events: tuple[NotificationEvent, ...] = get_args(NotificationEvent)

    @field_validator("webhook", mode="before")
    @classmethod
    def _is_an_address(cls, value: object) -> object:
        # Before pydantic looks, whose message would show the value.
        if not isinstance(value, str) or not _is_safe_address(value):
            raise ValueError("must be an https:// address (http:// on this machine only)")
        return value


class WorkspaceSettings(BaseSettings):
    """All of `sluice.toml`."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=_PREFIX, env_nested_delimiter=_DELIMITER
    )

    conversion: ConversionSection = ConversionSection()
    evaluation: EvaluationSection = EvaluationSection()
    identity: IdentitySection = IdentitySection()
    notifications: NotificationsSection = NotificationsSection()
    records: RecordsSection = RecordsSection()
    serving: ServingSection = ServingSection()
    journal: JournalSection = JournalSection()
    kubernetes: KubernetesSection = KubernetesSection()
    logs: LogsSection = LogsSection()
    prices: PricesSection = PricesSection()
    regions: dict[str, RegionSection] = {}
    store: StoreSection = StoreSection()
    telemetry: TelemetrySection = TelemetrySection()
    tracing: TracingSection = TracingSection()
    tracking: TrackingSection = TrackingSection()
    trust: TrustSection = TrustSection()

    @field_validator("regions")
    @classmethod
    def _names_are_legal(cls, value: dict[str, RegionSection]) -> dict[str, RegionSection]:
        for name in value:
            try:
                check_name(name, what="region name")
            except UserError as error:
                raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _regions_fit(self) -> Self:
        for name in self.regions:
            self.of_region(name)
        return self

    def of_region(self, name: str) -> WorkspaceSettings:
        """These settings as they are in region `name`; ValueError for what is not allowed there."""
        region = self.regions[name]
        own = {
            "serving": self.serving.model_copy(update={"port": region.port}),
            "kubernetes": KubernetesSection.model_validate(
                self.kubernetes.model_dump() | dict(region.kubernetes)
            ),
            "telemetry": TelemetrySection.model_validate(
                self.telemetry.model_dump() | dict(region.telemetry)
            ),
        }
        if archive := self.records.archive:
            # Below the workspace's own: readers of one place meet no records of another.
            below = f"{archive.rstrip('/')}/regions/{name}"
            own["records"] = self.records.model_copy(update={"archive": below})
        return self.model_copy(update=own)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings names its arguments
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then the file."""
        return env_settings, init_settings


def load_settings(path: Path) -> WorkspaceSettings:
    """The settings in `path` under the environment's. Raises UserError naming line or variable."""
    _refuse_unknown_variables()
    return load_toml(path, WorkspaceSettings)


def _refuse_unknown_variables() -> None:
    """A misspelt section would otherwise be ignored: pydantic-settings looks only for known ones.

    Variables without a section, such as those that processes of ours hand to each other, are not
    settings of the workspace.
    """
    sections = WorkspaceSettings.model_fields
    for variable in os.environ:
        section, delimiter, _ = variable.upper().removeprefix(_PREFIX).partition(_DELIMITER)
        is_ours = variable.upper().startswith(_PREFIX) and delimiter
        if is_ours and section.lower() == "identity":
            raise UserError(
                "who may say who acts is not taken from the environment",
                where=f"environment variable {variable}",
                remedy="write [identity] into sluice.toml",
            )
        if is_ours and section.lower() not in sections:
            raise UserError(
                f"there is no section {section.lower()!r}",
                where=f"environment variable {variable}",
                remedy=f"allowed: {', '.join(sections)}",
            )
