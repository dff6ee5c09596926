"""Envoy's fixed part: the front door's listener and filters, the admin socket, what is counted.

One port speaks HTTP/1.1, HTTP/2 without TLS, and gRPC. Routes and clusters come from files beside
it and change without a restart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canary.ports import SLOW_LIMITS_MS
from infra.local.door_policy import DoorPolicy, door_filters
from infra.local.envoy_actions import STREAM_IDLE_TIMEOUT
from infra.local.envoy_routes import LUA, ROUTE_TABLE
from infra.local.request_tracing import collector_cluster, tracer
from infra.local.session_log import LINE

if TYPE_CHECKING:
    from infra.local.request_tracing import RequestTracing

Json = dict[str, Any]

MAX_CONNECTIONS = 10_000
STAT_PREFIX = "front_door"
_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_LUA = Path(__file__).with_name("front_door.lua")


@dataclass(frozen=True, slots=True)
class Watched:
    """The files that Envoy reads again when they change, each alone in its folder."""

    routes: Path
    clusters: Path
    callers: Path
    withdrawn: Path


def bootstrap(
    host: str,
    port: int,
    admin: Path,
    watched: Watched,
    sessions: Path,
    policy: DoorPolicy,
    tracing: RequestTracing | None = None,
) -> Json:
    """The configuration that Envoy starts with; without `tracing` it traces no request.

    `host` and `port` are the front door's, `admin` is the admin interface's unix socket, and
    `sessions` is the file that gets a line for each answer to a session that is compared.
    """
    return {
        "node": {"id": "front-door", "cluster": "sluice"},
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        # A reader of statistics gets those of this moment, not of the last flush.
        "stats_flush_on_admin": True,
        "stats_config": {
            "histogram_bucket_settings": [
                {"match": {"suffix": "upstream_rq_time"}, "buckets": list(SLOW_LIMITS_MS)}
            ]
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_EXTENSIONS}.resource_monitors."
                        "downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": MAX_CONNECTIONS,
                    },
                }
            ]
        },
        "dynamic_resources": {"cds_config": _watched(watched.clusters)},
        "static_resources": {
            "listeners": [_listener(host, port, watched, sessions, policy, tracing)],
            **({"clusters": [collector_cluster(tracing)]} if tracing else {}),
        },
    }


def _watched(path: Path) -> Json:
    return {
        "resource_api_version": "V3",
        "path_config_source": {
            "path": str(path),
            "watched_directory": {"path": str(path.parent)},
        },
    }


def _listener(
    host: str,
    port: int,
    watched: Watched,
    sessions: Path,
    policy: DoorPolicy,
    tracing: RequestTracing | None,
) -> Json:
    return {
        "name": ROUTE_TABLE,
        "address": {"socket_address": {"address": host, "port_value": port}},
        "per_connection_buffer_limit_bytes": policy.max_request_bytes,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(watched, sessions, policy)
                        | ({"tracing": tracer(tracing)} if tracing else {}),
                    }
                ]
            }
        ],
    }


def _connection_manager(watched: Watched, sessions: Path, policy: DoorPolicy) -> Json:
    return {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STAT_PREFIX,
        "codec_type": "AUTO",
        "server_name": "sluice",
        # Callers are strangers: their x-envoy-* headers, which could ask for retries, are dropped.
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        # A caller's x-request-id is the one in the prediction record, bit for bit.
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "request_id_extension": {
            "typed_config": {
                "@type": f"{_EXTENSIONS}.request_id.uuid.v3.UuidRequestIdConfig",
                "pack_trace_reason": False,
            }
        },
        "common_http_protocol_options": {
            "idle_timeout": "3600s",
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 1000,
            "initial_stream_window_size": 1 << 20,
            "initial_connection_window_size": 16 << 20,
        },
        "request_headers_timeout": "10s",
        "stream_idle_timeout": STREAM_IDLE_TIMEOUT,
        "rds": {"route_config_name": ROUTE_TABLE, "config_source": _watched(watched.routes)},
        "local_reply_config": _LOCAL_REPLIES,
        "access_log": [_session_lines(sessions)],
        "http_filters": _filters(watched, policy),
    }


def _session_lines(path: Path) -> Json:
    """One line for each answer that the Lua filter marked; mirrored requests never come here."""
    marked = {"filter": "sluice", "path": [{"key": "epoch"}], "value": {"present_match": True}}
    return {
        "name": "envoy.access_loggers.file",
        "filter": {
            "metadata_filter": {"matcher": marked, "match_if_key_not_found": {"value": False}}
        },
        "typed_config": {
            "@type": f"{_EXTENSIONS}.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"json_format": LINE},
        },
    }


def _filters(watched: Watched, policy: DoorPolicy) -> list[Json]:
    return [
        *door_filters(policy, _watched(watched.callers), _watched(watched.withdrawn)),
        {
            "name": LUA,
            "typed_config": {
                "@type": f"{_EXTENSIONS}.filters.http.lua.v3.Lua",
                "default_source_code": {"inline_string": _LUA.read_text()},
            },
        },
        {
            # A gRPC failure is a success to HTTP: its status stands in the trailers.
            "name": "envoy.filters.http.grpc_stats",
            "typed_config": {
                "@type": f"{_EXTENSIONS}.filters.http.grpc_stats.v3.FilterConfig",
                "stats_for_all_methods": False,
            },
        },
        {
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": f"{_EXTENSIONS}.filters.http.router.v3.Router",
                "suppress_envoy_headers": True,
            },
        },
    ]


_NOT_GRPC = {
    "header_filter": {
        "header": {
            "name": "content-type",
            "string_match": {"prefix": "application/grpc"},
            "invert_match": True,
            "treat_missing_header_as_empty": True,
        }
    }
}
_FAILED = {
    "status_code_filter": {
        "comparison": {
            "op": "GE",
            "value": {"default_value": 400, "runtime_key": "sluice.failed"},
        }
    }
}
_LOCAL_REPLIES = {
    # REST callers get errors in Triton's own form; gRPC callers get them as a status.
    "mappers": [
        {
            "filter": {"and_filter": {"filters": [_NOT_GRPC, _FAILED]}},
            "body_format_override": {"json_format": {"error": "%LOCAL_REPLY_BODY%"}},
        }
    ]
}
