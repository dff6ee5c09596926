"""Envoy's route table: an allow-list of the Open Inference Protocol, and the weights of each model.

Whatever is not listed is refused: repository control, shared memory, trace and logging never
leave the revision's own port. Every request that goes on carries a mark that says whether the
weights sent it, its caller named the release, or it is a copy; a caller's own mark is overwritten.
Pure: routes in, Envoy's JSON out, and back.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from canary.ports import Mirror, Route, Share
from infra.local.envoy_actions import SHADOW_HEADER, header, to_one, weighted
from infra.local.envoy_clusters import DIRECT, INFER, answered_again_by, revision_of
from model_repository.programs.common.records import PINNED, WEIGHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Json = dict[str, Any]

ROUTE_TABLE = "front-door"
_SERVICE = "/inference.GRPCInferenceService"
_MODEL_PROBES = ("ModelReady", "ModelMetadata", "ModelConfig")
_SERVER_PROBES = ("ServerLive", "ServerReady", "ServerMetadata")
_REST_PROBES = ("", "/ready", "/config")
_NONE_SERVED = "no model is served"
_NOT_OFFERED = "that part of the server is not offered here"
_NOT_FOUND, _PERMISSION_DENIED, _UNAVAILABLE = "5", "7", "14"
_BUFFER = "envoy.filters.http.buffer"
LUA = "envoy.filters.http.lua"
_COUNTED = "counted "
"""Starts the name of the one route of each model that is read back."""


def route_table(
    routes: Iterable[Route],
    parts: Mapping[str, frozenset[str]] = MappingProxyType({}),
    epochs: Mapping[str, str] = MappingProxyType({}),
) -> Json:
    """The RouteConfiguration for `routes`, at most one for each model.

    `parts` are, by model, those (`network`, `stream`) that one of its routed releases has.
    `epochs` are, by model, the numbers of a comparison and of its weights, as `3-5`.
    """
    known = sorted(routes, key=lambda route: route.model)
    rules = []
    for route in known:
        labels = _labels(route, epochs.get(route.model, ""))
        rules += [
            rule | {"metadata": {"filter_metadata": labels}} if _counts(rule) else rule
            for rule in _model_rules(route, parts.get(route.model, frozenset()))
        ]
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": ROUTE_TABLE,
        # A rule's own mark counts, not that of its host.
        "most_specific_header_mutations_wins": True,
        "virtual_hosts": [
            {
                "name": ROUTE_TABLE,
                "domains": ["*"],
                "request_headers_to_add": [header(SHADOW_HEADER, WEIGHED)],
                "routes": [*rules, *_server_rules(known), *_refusals()],
            }
        ],
    }


def routes_of(table: Json) -> dict[str, Route]:
    """The routes that a RouteConfiguration carries, by model."""
    found = {}
    for host in table.get("virtual_hosts", []):
        for rule in host.get("routes", []):
            if rule.get("name", "").startswith(_COUNTED):
                route = _route_of(rule)
                found[route.model] = route
    return found


def _counts(rule: Json) -> bool:
    """Whether its answers are a release's telemetry."""
    weighted_clusters = rule.get("route", {}).get("weighted_clusters", {})
    names = [cluster["name"] for cluster in weighted_clusters.get("clusters", [])]
    return any(not name.endswith(f"/{DIRECT}") for name in names)


def epochs_of(table: Json) -> dict[str, str]:
    """The epochs that a RouteConfiguration carries, by model; empty where it carries none."""
    return {
        rule["name"].removeprefix(_COUNTED): str(_label(rule).get("epoch", ""))
        for host in table.get("virtual_hosts", [])
        for rule in host.get("routes", [])
        if rule.get("name", "").startswith(_COUNTED)
    }


def _label(rule: Json) -> Json:
    found: Json = rule["metadata"]["filter_metadata"]["sluice"]
    return found


def _labels(route: Route, epoch: str) -> Json:
    """What a counted rule carries: who wrote it, and for the Lua filter what it is to note.

    Sessions are only told while they are compared, so that no log grows between rollouts.
    """
    sluice = {"token": str(route.token), "epoch": epoch}
    return {"sluice": sluice} | ({LUA: {"epoch": epoch}} if epoch and route.compares else {})


def _route_of(rule: Json) -> Route:
    shares, retry_to = [], None
    model = rule["name"].removeprefix(_COUNTED)
    for cluster in rule["route"]["weighted_clusters"]["clusters"]:
        _, release = revision_of(cluster["name"])
        shares.append(Share(release, cluster.get("weight", 0)))
        retry_to = retry_to or answered_again_by(cluster["name"])
    return Route(
        model,
        tuple(shares),
        int(_label(rule)["token"]),
        mirror=_mirror_of(rule["route"]),
        retry_to=retry_to,
    )


def _mirror_of(action: Json) -> Mirror | None:
    for policy in action.get("request_mirror_policies", []):
        _, release = revision_of(policy["cluster"])
        return Mirror(release, policy["runtime_fraction"]["default_value"]["numerator"])
    return None


def _model_rules(route: Route, parts: frozenset[str]) -> Iterator[Json]:
    """A model's rules, the narrow ones first: Envoy takes the first that matches.

    Paths are compared whole; Envoy refuses regular expressions as long as a model's name may be.
    A part named `network` is reached by its model alone, so no rule names it.
    """
    if "network" in parts:
        yield from _unreadable_rules(route.model)
    yield from _pinned_rules(route)
    rest = f"/v2/models/{route.model}"
    yield {
        "name": _COUNTED + route.model,
        "match": {"path": f"{rest}/infer"},
        **weighted(route, "http", INFER),
    }
    yield from _generating_rules(route, rest)
    if "stream" in parts:
        yield from _generating_rules(route, f"{rest}.stream")
    for probe in _REST_PROBES:
        yield {"match": {"path": rest + probe}, **weighted(route, "http", DIRECT)}
    yield {"match": _grpc("ModelInfer", route.model), **weighted(route, "grpc", INFER)}
    yield {
        "match": _grpc("ModelStreamInfer", route.model),
        **weighted(route, "grpc", INFER, stream=True),
        "typed_per_filter_config": {_BUFFER: _BUFFER_OFF},
    }
    for method in _MODEL_PROBES:
        yield {"match": _grpc(method, route.model), **weighted(route, "grpc", DIRECT)}
    yield _refusal({"path_separated_prefix": rest}, 403, _NOT_OFFERED)


def _unreadable_rules(model: str) -> Iterator[Json]:
    """Refuse what could name a hidden part where the front door cannot read it."""
    unread = "this model takes no streams and no compressed requests"
    stream = _grpc("ModelStreamInfer", model)
    yield _refusal(stream, 403, unread, grpc_status=_PERMISSION_DENIED)
    for method in ("ModelInfer", *_MODEL_PROBES):
        match = _grpc(method, model)
        match["headers"] += [
            {"name": "grpc-encoding", "present_match": True},
            {"name": "grpc-encoding", "string_match": {"exact": "identity"}, "invert_match": True},
        ]
        yield _refusal(match, 403, unread, grpc_status=_PERMISSION_DENIED)


def _generating_rules(route: Route, rest: str) -> Iterator[Json]:
    """The HTTP generate extension of the Triton model at `rest`: whole, and as it comes.

    Not copied: Triton hands no headers of it on, so a copy would be recorded as a caller's.
    """
    whole = weighted(replace(route, mirror=None), "http", INFER)
    yield {"match": {"path": f"{rest}/generate"}, **whole}
    streamed = weighted(route, "http", INFER, stream=True)
    yield {"match": {"path": f"{rest}/generate_stream"}, **streamed}


def _pinned_rules(route: Route) -> Iterator[Json]:
    """Requests that name a version go to it, whatever its weight, and are not counted."""
    versions = f"/v2/models/{route.model}/versions"
    unserved = "that version of the model is not served"
    for share in route.shares:
        for end in ("/infer", "/generate", "/generate_stream", *_REST_PROBES):
            match = {"path": f"{versions}/{share.release}{end}"}
            yield {"match": match, **to_one(route.model, share.release, "http"), **_PINNED}
        for method in ("ModelInfer", *_MODEL_PROBES):
            match = _grpc(method, route.model, version=str(share.release))
            yield {"match": match, **to_one(route.model, share.release, "grpc"), **_PINNED}
    yield _refusal({"path_separated_prefix": versions}, 404, unserved)
    for method in ("ModelInfer", *_MODEL_PROBES):
        match = _grpc(method, route.model, version="")
        yield _refusal(match, 404, unserved, grpc_status=_NOT_FOUND)


def _server_rules(routes: list[Route]) -> Iterator[Json]:
    """Health and metadata of the server as a whole; any revision knows its metadata."""
    yield _reply({"path": "/v2/health/live"}, 200, "")
    probes = [{"path": f"{_SERVICE}/{method}", "grpc": {}} for method in _SERVER_PROBES]
    if not routes:
        yield _refusal({"path": "/v2/health/ready"}, 503, _NONE_SERVED)
        for probe in probes:
            yield _refusal(probe, 503, _NONE_SERVED, grpc_status=_UNAVAILABLE)
        return
    yield _reply({"path": "/v2/health/ready"}, 200, "")
    yield {"match": {"path": "/v2"}, **weighted(routes[0], "http", DIRECT)}
    for probe in probes:
        yield {"match": probe, **weighted(routes[0], "grpc", DIRECT)}


def _refusals() -> Iterator[Json]:
    """What no rule before them matched."""
    unknown = "no such model is served"
    for method in ("ModelInfer", "ModelStreamInfer", *_MODEL_PROBES):
        yield _refusal(
            {"path": f"{_SERVICE}/{method}", "grpc": {}},
            404,
            f"{unknown} (a stream or a compressed request names its model in the header x-model)",
            grpc_status=_NOT_FOUND,
        )
    yield _refusal({"prefix": "/", "grpc": {}}, 403, _NOT_OFFERED, grpc_status=_PERMISSION_DENIED)
    yield _refusal({"prefix": "/v2/models/"}, 404, unknown)
    yield _refusal({"prefix": "/"}, 403, _NOT_OFFERED)


def _grpc(method: str, model: str, *, version: str | None = None) -> Json:
    """Match a gRPC method on a model; `version` "" is any, None matches whatever it is."""
    headers: list[Json] = [{"name": "x-model", "string_match": {"exact": model}}]
    if version is not None:
        wanted = {"string_match": {"exact": version}} if version else {"present_match": True}
        headers.append({"name": "x-model-version", **wanted})
    return {"path": f"{_SERVICE}/{method}", "grpc": {}, "headers": headers}


def _reply(match: Json, status: int, text: str) -> Json:
    body = {"body": {"inline_string": text}} if text else {}
    return {"match": match, "direct_response": {"status": status, **body}}


def _refusal(match: Json, status: int, text: str, *, grpc_status: str = "") -> Json:
    headers = {"response_headers_to_add": [header("grpc-status", grpc_status)]}
    return {**_reply(match, status, text), **(headers if grpc_status else {})}


_PINNED = {"request_headers_to_add": [header(SHADOW_HEADER, PINNED)]}
_BUFFER_OFF = {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
    "disabled": True,
}
