"""What `[kubernetes]` in `sluice.toml` may say: the cluster, its images, its nodes.

Apart from `settings.py`, because only the adapters to a cluster read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_CLAIM = r"pvc:[a-z0-9][a-z0-9.-]*(/\.?[\w-][\w.-]*)*"
_PINNED_IMAGE = r"^([\w.:/-]+@sha256:[0-9a-f]{64})?$"


class Toleration(BaseModel):
    """A taint that a pool's nodes have, in the words of Kubernetes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(min_length=1)
    operator: Literal["Equal", "Exists"] = "Exists"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


def _pinned(value: object) -> object:
    if isinstance(value, str) and value and "@sha256:" not in value:
        raise ValueError("must be an image by digest, NAME@sha256:DIGEST; a tag may move")
    return value


class PoolSection(BaseModel):
    """`[kubernetes.pools.NAME]`: nodes for the revisions of one device, such as `gpu`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node_selector: Mapping[str, str] = {}
    """Labels that its nodes have."""
    spot: Mapping[str, str] = {}
    """Labels of its cheap nodes: they are preferred, and any other of the pool does as well."""
    tolerations: tuple[Toleration, ...] = ()
    image: str = Field(default="", pattern=_PINNED_IMAGE)
    """Another serving runtime, such as the one with vLLM; empty: that of `[kubernetes]`."""
    resources: Mapping[str, int] = {}
    """Devices that one replica holds, such as `"nvidia.com/gpu" = 1`."""

    _is_pinned = field_validator("image", mode="before")(_pinned)


class KubernetesSection(BaseModel):
    """`[kubernetes]`: the cluster where revisions stand, when `[serving] platform` says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    context: str = ""
    """Of the kubeconfig; empty: the cluster that this process runs in, else the current one."""
    namespace: str = Field(default="sluice", pattern=_DNS_LABEL)
    image: str = Field(default="", pattern=_PINNED_IMAGE)
    """The serving runtime, `NAME@sha256:DIGEST`: a tag may name other bytes tomorrow."""
    control_image: str = Field(default="", pattern=_PINNED_IMAGE)
    """The control plane's, by digest: its init container checks a release before it is loaded."""
    repository: str = Field(default="", pattern=rf"^({_CLAIM}|(s3|gs)://\S+)?$")
    """Where published releases are: `pvc:CLAIM`, `pvc:CLAIM/FOLDER`, `s3://BUCKET/PREFIX` or
    `gs://BUCKET/PREFIX`. A claim without a folder is a workspace's: `.sluice/repository` in it."""
    predictions: str = Field(default="", pattern=rf"^({_CLAIM})?$")
    """Where served requests are recorded: a claim that many nodes may write; without a folder,
    `.sluice/predictions` in it. Empty: nothing is recorded, so nothing is told of sessions."""
    secret: str = Field(default="sluice-revision", pattern=_DNS_LABEL)
    """The Secret with `restricted-api`, the word that the restricted parts of Triton's API ask for,
    and, where requests are recorded, `text.key`. The control plane never reads it."""
    service_account: str = Field(default="sluice-revision", pattern=_DNS_LABEL)
    """Of the revisions' pods: its cloud identity may read the bucket; it has no role here."""
    route: Literal["gateway-api", "istio"] = "gateway-api"
    gateway: str = Field(default="sluice", pattern=_DNS_LABEL)
    """The Gateway that callers reach."""
    gateway_namespace: str = Field(default="", pattern=rf"({_DNS_LABEL})|^$")
    """Where it and its proxies stand; empty: in `namespace`."""
    gateway_pods: Mapping[str, str] = {"gateway.networking.k8s.io/gateway-name": "sluice"}
    """Labels of the Gateway's proxies: with the control plane, the only ones that may ask."""
    monitoring_namespace: str = Field(default="monitoring", pattern=_DNS_LABEL)
    """Prometheus's, which alone may read a revision's metrics."""
    hosts: tuple[str, ...] = ()
    """That callers use; empty: every host of the listeners."""
    http_listener: str = Field(default="http", pattern=_DNS_LABEL)
    """The Gateway's listener for HTTP; one takes routes of a single kind, so gRPC has its own."""
    grpc_listener: str = Field(default="grpc", pattern=rf"({_DNS_LABEL})|^$")
    """Empty: models are offered over HTTP only."""
    probe: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """The Gateway's address as this process reaches it: a new weight is confirmed through it."""
    grpc_probe: str = Field(default="", pattern=r"^([^\s:/]+:[0-9]+)?$")
    """Its gRPC listener as this process reaches it, `HOST:PORT`, in clear text."""
    grpc_address: str = "{service}.{namespace}.svc:8001"
    """Where this process reaches a revision; a process outside the cluster names its way in."""
    http_address: str = "http://{service}.{namespace}.svc:8000"
    start_s: float = Field(default=900.0, ge=10, le=7200)
    """A revision that is not ready by then has failed to start."""
    replicas: int = Field(default=1, ge=1, le=1000)
    """At least so many of a revision."""
    most_replicas: int = Field(default=4, ge=1, le=1000)
    queue_ms: int = Field(default=50, ge=1, le=60_000)
    """A request may wait so long for its turn, on average, before another replica starts."""
    scale_to_zero: bool = False
    """Whether a settled old revision gives its nodes back; needs the gate `HPAScaleToZero`."""
    memory_headroom: float = Field(default=1.5, ge=1.0, le=10.0)
    """A replica may hold so many times the memory that the gate measured."""
    pools: Mapping[str, PoolSection] = {}
    """By device: `cpu`, `gpu`, `npu`."""

    _is_pinned = field_validator("image", "control_image", mode="before")(_pinned)

    @field_validator("grpc_address", "http_address")
    @classmethod
    def _is_a_template(cls, value: str) -> str:
        try:
            value.format(service="s", namespace="n", model="m", release=1)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError(
                "may hold {service}, {namespace}, {model} and {release}, and no other braces"
            ) from error
        return value

    @model_validator(mode="after")
    def _replicas_are_a_range(self) -> Self:
        if self.replicas > self.most_replicas:
            raise ValueError("replicas must not be more than most_replicas")
        return self
