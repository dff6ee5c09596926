"""What each kind of proxy calls what it counts, and which release a counter is of.

Prometheus knows names and labels only. Envoy by itself and Envoy Gateway count by cluster, Istio
by destination; each dialect asks for a model's series and says what one of them counts. Pure:
labels in, words out.

Sources: Envoy's cluster statistics; Envoy Gateway's EnvoyProxy `clusterStatName`; Istio's standard
metrics.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from infra.kubernetes.names import revision_name
from infra.kubernetes.route_objects import object_name
from infra.local.envoy_clusters import INFER, RETRIED

if TYPE_CHECKING:
    from collections.abc import Mapping

DialectName = Literal["sluice", "envoy-gateway", "istio"]

TIMED = "timed"
"""Answers whose time was taken."""
_ENVOY_COUNTS = {
    "envoy_cluster_upstream_rq_completed": "upstream_rq_completed",
    "envoy_cluster_upstream_rq_retry_success": "upstream_rq_retry_success",
    "envoy_cluster_grpc_success": "grpc.success",
    "envoy_cluster_grpc_failure": "grpc.failure",
    "envoy_cluster_upstream_rq_time_count": TIMED,
}
_CLASSES = "envoy_cluster_upstream_rq_xx"
_ENVOY_BUCKETS = "envoy_cluster_upstream_rq_time_bucket"
_ISTIO_REQUESTS = "istio_requests_total"
_ISTIO_BUCKETS = "istio_request_duration_milliseconds_bucket"
_ISTIO_TIMED = "istio_request_duration_milliseconds_count"
_NO_ANSWER = "0"
"""Istio's response code where the caller went away first; it counts nowhere."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What one series counts: `what` in the words of `infra.local.envoy_telemetry.total_of`."""

    release: int
    protocol: Literal["http", "grpc"]
    cluster: str
    what: tuple[str, ...]


class Dialect(ABC):
    """`edges` says where a person sets the edges of this proxy's histogram of answer times."""

    edges: str

    @abstractmethod
    def matchers(self, model: str) -> str:
        """Label matchers for all series of one model, of metrics with and without a bucket."""

    @abstractmethod
    def counted(self, model: str, labels: Mapping[str, str]) -> Counted | None:
        """What the series counts; None where it is none of the model's traffic by weight."""


class OwnEnvoy(Dialect):
    """A front door that this control plane configures: clusters are named after releases."""

    edges = "set Envoy's buckets to those of the plan's limits (histogram_bucket_settings)"
    _cluster = re.compile(
        rf"(?P<model>[a-z0-9-]+)/r(?P<release>\d+)/(?P<protocol>http|grpc)/(?:{INFER}|{RETRIED})"
    )

    def matchers(self, model: str) -> str:
        """Of the clusters that are named after the model's releases."""
        clusters = f"{model}/r[0-9]+/(http|grpc)/({INFER}|{RETRIED})"
        return f'__name__=~"{_envoy_names()}",envoy_cluster_name=~"{clusters}"'

    def counted(self, model: str, labels: Mapping[str, str]) -> Counted | None:
        """By the cluster's name."""
        cluster, what = labels["envoy_cluster_name"], _envoy_what(labels)
        match = self._cluster.fullmatch(cluster)
        if match is None or match["model"] != model or what is None:
            return None
        protocol: Literal["http", "grpc"] = "http" if match["protocol"] == "http" else "grpc"
        return Counted(int(match["release"]), protocol, cluster, (what,))


class EnvoyGateway(Dialect):
    """Envoy Gateway, whose EnvoyProxy names clusters by rule and backend.

    `spec.telemetry.metrics.clusterStatName` must be `CLUSTER_STAT_NAME`. A rule that draws
    between two releases has one cluster for both and so counts for neither: only the sessions that
    stick are told apart.
    """

    CLUSTER_STAT_NAME = (
        "%ROUTE_KIND%/%ROUTE_NAMESPACE%/%ROUTE_NAME%/%ROUTE_RULE_NAME%/%BACKEND_REFS%"
    )
    edges = "set them in the EnvoyProxy's bootstrap (stats_config.histogram_bucket_settings)"
    _rest = r"(?:infer|generate)-(?:r\d+|any)/[^/|]+/(?P<service>[^/|]+)"

    def matchers(self, model: str) -> str:
        """Of the clusters of the model's routes, but for questions about the model."""
        rules = "(infer|generate)-(r[0-9]+|any)"
        clusters = f"(http|grpc)route/[^/]+/{object_name(model)}/{rules}/[^/]+/[^/]+"
        return f'__name__=~"{_envoy_names()}",envoy_cluster_name=~"{clusters}"'

    def counted(self, model: str, labels: Mapping[str, str]) -> Counted | None:
        """By the one backend that the cluster's name has."""
        cluster, what = labels["envoy_cluster_name"], _envoy_what(labels)
        route = re.escape(object_name(model))
        match = re.fullmatch(rf"(?P<protocol>http|grpc)route/[^/]+/{route}/{self._rest}", cluster)
        release = None if match is None else _release_of(model, match["service"])
        if match is None or release is None or what is None:
            return None
        protocol: Literal["http", "grpc"] = "http" if match["protocol"] == "http" else "grpc"
        return Counted(release, protocol, cluster, (what,))


class Istio(Dialect):
    """Istio's ingress gateway, by what it reports as the source of a request.

    Copies are no requests of its filters and are not counted. Questions about a model, a route's
    probes among them, go to the same destination as inference and are.
    """

    edges = "set them by the annotation sidecar.istio.io/statsHistogramBuckets"

    def matchers(self, model: str) -> str:
        """Of requests to Services that may be revisions of the model."""
        names = f"{_ISTIO_REQUESTS}|{_ISTIO_BUCKETS}|{_ISTIO_TIMED}"
        # A long model's name is cut in a Service's: which model it is, is seen by the whole name.
        services = f"{revision_name(model, 1)[:40].removesuffix('-r1')}.*-r[0-9]+"
        return f'__name__=~"{names}",reporter="source",destination_service_name=~"{services}"'

    def counted(self, model: str, labels: Mapping[str, str]) -> Counted | None:
        """By the destination; an answer that nobody waited for counts nowhere."""
        service, name = labels["destination_service_name"], labels["__name__"]
        release = _release_of(model, service)
        code = labels.get("response_code", _NO_ANSWER)
        if release is None or code == _NO_ANSWER:
            return None
        protocol: Literal["http", "grpc"] = (
            "grpc" if labels.get("request_protocol") == "grpc" else "http"
        )
        if name == _ISTIO_BUCKETS:
            return Counted(release, protocol, service, (within(labels["le"]),))
        if name == _ISTIO_TIMED:
            return Counted(release, protocol, service, (TIMED,))
        if protocol == "grpc":
            well = code == "200" and labels.get("grpc_response_status", "") == "0"
            what: tuple[str, ...] = ("grpc.success" if well else "grpc.failure",)
        else:
            failed = code[0] in "45"
            what = ("upstream_rq_completed", *((f"upstream_rq_{code[0]}xx",) if failed else ()))
        return Counted(release, protocol, service, what)


DIALECTS: Mapping[DialectName, Dialect] = {
    "sluice": OwnEnvoy(),
    "envoy-gateway": EnvoyGateway(),
    "istio": Istio(),
}


def within(edge: float | str) -> str:
    """The name of the count of answers that took at most `edge` milliseconds."""
    return f"within {float(edge):g}"


def _envoy_names() -> str:
    return "|".join([*_ENVOY_COUNTS, _CLASSES, _ENVOY_BUCKETS])


def _envoy_what(labels: Mapping[str, str]) -> str | None:
    name = labels["__name__"]
    if name == _CLASSES:
        return f"upstream_rq_{labels.get('envoy_response_code_class', '')}xx"
    if name == _ENVOY_BUCKETS:
        return within(labels["le"])
    return _ENVOY_COUNTS.get(name)


def _release_of(model: str, service: str) -> int | None:
    """The release whose revision's Service it is; None for any other Service."""
    number = service.rpartition("-r")[2]
    if not number.isdecimal() or revision_name(model, int(number)) != service:
        return None
    return int(number)
