"""Envoy's clusters: where a revision listens, once for counted traffic and once for the rest.

Inference by weight goes through the `infer` clusters, and their statistics are a release's
telemetry. Readiness, metadata and requests that pin a version go through the `direct` clusters,
so that a probe never counts as an answered request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from infra.local.ports import LOOPBACK

if TYPE_CHECKING:
    from infra.local.triton import Endpoints

Json = dict[str, Any]

PROTOCOLS = ("http", "grpc")
INFER, DIRECT = "infer", "direct"
_NAME = re.compile(r"(?P<model>[a-z0-9-]+)/r(?P<release>\d+)/(?:http|grpc)/(?:infer|direct)")
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


def revision_clusters(model: str, release: int, endpoints: Endpoints) -> list[Json]:
    """The four clusters of one revision."""
    ports = {"http": endpoints.http, "grpc": endpoints.grpc}
    return [
        _cluster(cluster_name(model, release, protocol, use), ports[protocol], protocol)
        for protocol in PROTOCOLS
        for use in (INFER, DIRECT)
    ]


def _cluster(name: str, port: int, protocol: str) -> Json:
    options: Json = (
        {"http2_protocol_options": {}} if protocol == "grpc" else {"http_protocol_options": {}}
    )
    address = {"socket_address": {"address": LOOPBACK, "port_value": port}}
    limits = {
        "max_connections": _IN_FLIGHT,
        "max_pending_requests": _IN_FLIGHT,
        "max_requests": _IN_FLIGHT,
    }
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": _CONNECT_TIMEOUT,
        "per_connection_buffer_limit_bytes": _BUFFER_BYTES,
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
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
