"""What Envoy does with a request that a rule matched: who answers it, and within what limits.

Pure: routes in, Envoy's JSON out. `envoy_routes` decides what matches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.local.envoy_clusters import (
    DIRECT,
    INFER,
    RELEASE_OF_THE_ANSWER,
    SHADOW,
    cluster_name,
    retried,
)

if TYPE_CHECKING:
    from canary.ports import Route

Json = dict[str, Any]

REQUEST_TIMEOUT = "30s"
"""A request of the longest window takes a second or two; a hanging revision must show itself."""
STREAM_IDLE_TIMEOUT = "300s"
SHADOW_HEADER = "x-sluice-shadow"
"""Marks a mirrored request; callers cannot send it."""
_SESSION_HEADER = "x-session-id"
_RETRY_ON = "5xx,cancelled,internal,resource-exhausted,unavailable"
"""`5xx` includes refused and broken connections; the rest are states of a gRPC answer that ends
with its headers. Envoy answers nothing again once a byte went to the caller."""


def weighted(route: Route, protocol: str, use: str, *, stream: bool = False) -> Json:
    """Inference or a probe by weight. Streams are neither mirrored nor answered again."""
    whole = use == INFER and not stream
    clusters = []
    for share in route.shares:
        again = route.retry_to if whole and share.release != route.retry_to else None
        cluster = use if again is None else retried(again)
        clusters.append(
            {
                "name": cluster_name(route.model, share.release, protocol, cluster),
                "weight": share.weight,
                "response_headers_to_add": answered_by(
                    route.model, share.release if again is None else RELEASE_OF_THE_ANSWER
                ),
            }
        )
    return {
        "route": {
            # The candidate stands last, so a growing weight only ever adds sessions to it.
            "weighted_clusters": {"clusters": clusters, "use_hash_policy": True},
            "hash_policy": [{"header": {"header_name": _SESSION_HEADER}}],
            **limits(protocol, stream=stream),
            **(_mirror(route, protocol) if whole else {}),
            **(_retry(route) if whole else {}),
        }
    }


def to_one(model: str, release: int, protocol: str) -> Json:
    """A request that names its release: neither counted, nor mirrored, nor answered again."""
    return {
        "route": {
            "cluster": cluster_name(model, release, protocol, DIRECT),
            **limits(protocol, stream=False),
        },
        "response_headers_to_add": answered_by(model, release),
    }


def limits(protocol: str, *, stream: bool) -> Json:
    """Envoy ignores a route's `timeout` where `max_stream_duration` stands."""
    if stream:
        return {"timeout": "0s", "idle_timeout": STREAM_IDLE_TIMEOUT}
    if protocol == "http":
        return {"timeout": REQUEST_TIMEOUT}
    # A caller's own deadline passes here first, and so is seen and counted.
    longest = {"max_stream_duration": REQUEST_TIMEOUT, "grpc_timeout_header_max": REQUEST_TIMEOUT}
    return {"max_stream_duration": longest}


def answered_by(model: str, release: int | str) -> list[Json]:
    """Headers that tell a caller which release answered."""
    return [
        header("x-sluice-release", str(release)),
        header("x-sluice-revision", f"{model}/r{release}"),
    ]


def header(key: str, value: str) -> Json:
    """A header to set."""
    return {
        "header": {"key": key, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def _mirror(route: Route, protocol: str) -> Json:
    if route.mirror is None:
        return {}
    policy = {
        "cluster": cluster_name(route.model, route.mirror.release, protocol, SHADOW),
        "runtime_fraction": {"default_value": {"numerator": route.mirror.percent}},
        "request_headers_mutations": [{"append": header(SHADOW_HEADER, "1")}],
        "disable_shadow_host_suffix_append": True,
    }
    return {"request_mirror_policies": [policy]}


def _retry(route: Route) -> Json:
    if route.retry_to is None:
        return {}
    return {
        "retry_policy": {
            "retry_on": _RETRY_ON,
            "num_retries": 1,
            # Another revision answers, so there is nothing to wait for.
            "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.001s"},
        }
    }
