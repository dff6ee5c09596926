"""Envoy's clusters: where a revision listens, once for counted traffic and once for the rest.

Inference by weight goes through the `infer` clusters, and their statistics are a release's
telemetry. Readiness, metadata and requests that pin a version go through the `direct` clusters,
so that a probe never counts as an answered request, and mirrored ones through `shadow`.

Where another release answers again what this one failed on, inference goes through
`retried-rN` instead: a composite cluster, whose first attempt is this revision and whose second is
release N. Its statistics are this release's too, whoever answered in the end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from infra.local.ports import LOOPBACK

if TYPE_CHECKING:
    from infra.local.triton import Endpoints

Json = dict[str, Any]

PROTOCOLS = ("http", "grpc")
INFER, DIRECT, SHADOW = "infer", "direct", "shadow"
RETRIED = r"retried-r[0-9]+"
"""Matches the use of a composite cluster."""
RELEASE_OF_THE_ANSWER = "%UPSTREAM_METADATA(sluice:release)%"
"""Envoy's words for the release whose revision was asked last."""
_NAME = re.compile(
    rf"(?P<model>[a-z0-9-]+)/r(?P<release>\d+)/(?P<protocol>http|grpc)/"
    rf"(?:{INFER}|{DIRECT}|{SHADOW}|{RETRIED})"
)
_COMPOSITE = "envoy.clusters.composite"
_CLUSTER_TYPE = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
_CONNECT_TIMEOUT = "1s"
_BUFFER_BYTES = 16 << 20
_IDLE_TIMEOUT = "1s"
"""A Triton that stops waits for connections to close before it unloads its model (seen: until
its exit time-out, after which the model's last records are lost). A new one costs 0.1 ms."""
_IN_FLIGHT = 4096
"""Requests that may wait for one revision before Envoy refuses more of them."""


def cluster_name(model: str, release: int, protocol: str, use: str) -> str:
    """A cluster's name, which is also the name of its statistics."""
    return f"{model}/r{release}/{protocol}/{use}"


def revision_of(cluster: str) -> tuple[str, int]:
    """Model and release that a cluster's name carries."""
    match = _NAME.fullmatch(cluster)
    if match is None:
        raise ValueError(f"not a cluster of ours: {cluster!r}")
    return match["model"], int(match["release"])


def answered_again_by(cluster: str) -> int | None:
    """The release that answers where `cluster` fails, None when it is no composite one."""
    use = cluster.rpartition("/")[2]
    return int(use.removeprefix("retried-r")) if use.startswith("retried-r") else None


def retried(release: int) -> str:
    """The use of a composite cluster whose failed requests `release` answers."""
    return f"retried-r{release}"


def is_composite(cluster: Json) -> bool:
    """Whether `cluster` is made of others'."""
    return "cluster_type" in cluster


def revision_clusters(model: str, release: int, endpoints: Endpoints) -> list[Json]:
    """The six clusters of one revision."""
    ports = {"http": endpoints.http, "grpc": endpoints.grpc}
    return [
        _cluster(cluster_name(model, release, protocol, use), release, ports[protocol], protocol)
        for protocol in PROTOCOLS
        for use in (INFER, DIRECT, SHADOW)
    ]


def retried_clusters(model: str, release: int, again: int) -> list[Json]:
    """Two clusters that ask `release`, and `again` where it fails.

    They are made of `direct` clusters, so that only their own statistics count.
    """
    return [
        {
            "@type": _CLUSTER_TYPE,
            "name": cluster_name(model, release, protocol, retried(again)),
            "connect_timeout": _CONNECT_TIMEOUT,
            "lb_policy": "CLUSTER_PROVIDED",
            "circuit_breakers": {"thresholds": [_in_flight(retries=_IN_FLIGHT)]},
            "cluster_type": {
                "name": _COMPOSITE,
                "typed_config": {
                    "@type": "type.googleapis.com/"
                    "envoy.extensions.clusters.composite.v3.ClusterConfig",
                    "clusters": [
                        {"name": cluster_name(model, attempt, protocol, DIRECT)}
                        for attempt in (release, again)
                    ],
                },
            },
        }
        for protocol in PROTOCOLS
    ]


def _in_flight(*, retries: int) -> Json:
    return {
        "max_connections": _IN_FLIGHT,
        "max_pending_requests": _IN_FLIGHT,
        "max_requests": _IN_FLIGHT,
        "max_retries": retries,
    }


def _cluster(name: str, release: int, port: int, protocol: str) -> Json:
    options: Json = (
        {"http2_protocol_options": {}} if protocol == "grpc" else {"http_protocol_options": {}}
    )
    address = {"socket_address": {"address": LOOPBACK, "port_value": port}}
    endpoint = {
        "endpoint": {"address": address},
        "metadata": {"filter_metadata": {"sluice": {"release": str(release)}}},
    }
    return {
        "@type": _CLUSTER_TYPE,
        "name": name,
        "type": "STATIC",
        "connect_timeout": _CONNECT_TIMEOUT,
        "per_connection_buffer_limit_bytes": _BUFFER_BYTES,
        # A route's retries are for its composite clusters alone.
        "circuit_breakers": {"thresholds": [_in_flight(retries=0)]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/"
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": _IDLE_TIMEOUT},
                "explicit_http_config": options,
            }
        },
    }
