"""How requests are traced: Envoy makes the spans, Triton goes on with them, a collector gets both.

Envoy alone says which requests are traced. Triton traces every request that brings a trace context,
sampled or not, so Envoy hands none of the others on. Pure but for reading the settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from registry.workspace import Workspace

Json = dict[str, Any]

COLLECTOR = "opentelemetry_collector"
"""Envoy's cluster of it."""
FRONT_DOOR_SERVICE, REVISION_SERVICE = "sluice-front-door", "sluice-revision"
_TYPES = "type.googleapis.com/envoy"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_PATH = "/v1/traces"
_SAMPLED_ONLY = """\
function envoy_on_request(handle)
  local context = handle:headers():get("traceparent")
  if context and string.sub(context, -2) == "00" then
    handle:headers():remove("traceparent")
    handle:headers():remove("tracestate")
  end
end
"""
_FILTERS: list[Json] = [
    {
        "name": "sluice.sampled_only",
        "typed_config": {
            "@type": f"{_TYPES}.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": _SAMPLED_ONLY},
        },
    },
    {
        "name": "envoy.filters.http.upstream_codec",
        "typed_config": {
            "@type": f"{_TYPES}.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
        },
    },
]


@dataclass(frozen=True, slots=True)
class RequestTracing:
    """`endpoint` is the collector's base address, `http://`; `percent` is of requests."""

    endpoint: str
    percent: float

    @property
    def url(self) -> str:
        """What spans are posted to."""
        return self.endpoint.rstrip("/") + _PATH


def request_tracing(workspace: Workspace) -> RequestTracing | None:
    """What the workspace asks for; None traces no request."""
    # Most workspaces have none, and reading all settings takes long.
    if not workspace.tracing_endpoint:
        return None
    section = workspace.settings.tracing
    return (
        RequestTracing(section.endpoint, section.requests_percent)
        if section.requests_percent
        else None
    )


def tracer(tracing: RequestTracing) -> Json:
    """Of the listener: one span for a request, one for each attempt at a revision."""
    return {
        "random_sampling": {"value": tracing.percent},
        "spawn_upstream_span": True,
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": f"{_TYPES}.config.trace.v3.OpenTelemetryConfig",
                "service_name": FRONT_DOOR_SERVICE,
                "http_service": {
                    "http_uri": {"uri": tracing.url, "cluster": COLLECTOR, "timeout": "2s"}
                },
            },
        },
    }


def collector_cluster(tracing: RequestTracing) -> Json:
    """Where the collector is. One that does not answer loses spans, and delays no request."""
    parts = urlsplit(tracing.endpoint)
    address = {"address": parts.hostname or "", "port_value": parts.port or 80}
    return {
        "name": COLLECTOR,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": COLLECTOR,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": {"socket_address": address}}}]}
            ],
        },
    }


def only_sampled(cluster: Json, tracing: RequestTracing | None) -> Json:
    """A revision's cluster that hands on the context of traced requests alone."""
    options = cluster.get("typed_extension_protocol_options", {}).get(_OPTIONS)
    if options is None:
        return cluster
    plain = {name: value for name, value in options.items() if name != "http_filters"}
    changed = plain | ({"http_filters": _FILTERS} if tracing else {})
    return {**cluster, "typed_extension_protocol_options": {_OPTIONS: changed}}


def triton_options(tracing: RequestTracing | None) -> tuple[str, ...]:
    """Of a server: trace what brings a context, and nothing else."""
    if tracing is None:
        return ()
    return (
        "--trace-config=mode=opentelemetry",
        "--trace-config=level=TIMESTAMPS",
        # Of requests without a context; those that bring one are traced at any rate.
        "--trace-config=rate=0",
        "--trace-config=count=-1",
        f"--trace-config=opentelemetry,url={tracing.url}",
        "--trace-config=opentelemetry,bsp_schedule_delay=1000",
        f"--trace-config=opentelemetry,resource=service.name={REVISION_SERVICE}",
    )
