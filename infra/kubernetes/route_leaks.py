"""Which other routes of a namespace would take requests that a model's route is there for.

A gateway merges all routes of a host. A rule that somebody left behind and that is as narrow as
ours wins by its age, so a written weight would be true in the object and wrong in the traffic.
Only the namespace of the routes is looked at. Pure: objects in, words out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from infra.kubernetes.route_objects import (
    GRPC_SERVICE,
    MODEL_HEADER,
    object_name,
    rules_of,
    where,
)
from registry.errors import PermanentEngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from canary.ports import Route
    from infra.kubernetes.route_objects import Door, Protocol


def refuse_leaks(leaks: Iterable[str], route: Route) -> None:
    """Raise PermanentEngineError that names the first leak."""
    for leak in leaks:
        raise PermanentEngineError(
            f"{leak} takes requests to {route.model} too, whatever its weights",
            where=route.model,
            remedy="delete it, or narrow its rules",
        )


def gateway_leaks(
    route: Route, door: Door, protocol: Protocol, others: Iterable[Mapping[str, Any]]
) -> Iterator[str]:
    """HTTPRoutes or GRPCRoutes that take requests of ours, by the precedence of Gateway API.

    First counts the host, then how much of a path or method is named. So a prefix takes nothing
    from a whole path, but on a host that it names and we do not.
    """
    requests = {request for rule in rules_of(route, protocol) for request in rule.requests}
    for other in others:
        spec = other.get("spec") or {}
        parents = spec.get("parentRefs") or []
        narrower = _narrower(spec.get("hostnames") or [], door.hosts)
        if (
            other["metadata"]["name"] == object_name(route.model)
            or narrower is None
            or not any(_attaches(parent, door, protocol) for parent in parents)
        ):
            continue
        matches = [one for rule in spec.get("rules") or [] for one in rule.get("matches") or [{}]]
        takes = _path_takes if protocol == "http" else _method_takes
        if any(
            takes(one, request, route.model, narrower=narrower)
            for one in matches
            for request in requests
        ):
            yield where(other)


def istio_leaks(route: Route, door: Door, others: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """VirtualServices with a rule for paths of ours; among several, which is first is not told."""
    http = {request for rule in rules_of(route, "http") for request in rule.requests}
    grpc = {
        f"/{GRPC_SERVICE}/{request}"
        for rule in rules_of(route, "grpc")
        for request in rule.requests
    }
    for other in others:
        spec = other.get("spec") or {}
        gateways = {f"{door.of_gateway}/{door.gateway}"}
        if door.of_gateway == door.namespace:
            gateways.add(door.gateway)
        hosts = [host for host in spec.get("hosts") or [] if host != "*"]
        if (
            other["metadata"]["name"] == object_name(route.model)
            or _narrower(hosts, door.hosts) is None
            or not gateways & set(spec.get("gateways") or [])
        ):
            continue
        matches = [one for rule in spec.get("http") or [] for one in rule.get("match") or []]
        if any(_uri_takes(one, http, grpc, route.model) for one in matches):
            yield where(other)


def _narrower(theirs: Iterable[str], ours: Iterable[str]) -> bool | None:
    """Whether a host of theirs is named more closely than ours; None when they share none."""
    meetings = [
        (len(one.lstrip("*")), len(other.lstrip("*")))
        for one in [*theirs] or ["*"]
        for other in [*ours] or ["*"]
        if _meet(one, other)
    ]
    return any(one > other for one, other in meetings) if meetings else None


def _meet(one: str, other: str) -> bool:
    for wide, narrow in ((one, other), (other, one)):
        if wide == narrow or (wide.startswith("*") and narrow.endswith(wide[1:])):
            return True
    return False


def _attaches(parent: Mapping[str, Any], door: Door, protocol: Protocol) -> bool:
    listener = door.listener(protocol)
    return (
        parent.get("kind", "Gateway") == "Gateway"
        and parent.get("name") == door.gateway
        and parent.get("namespace", door.namespace) == door.of_gateway
        and parent.get("sectionName", listener) == listener
    )


def _path_takes(match: Mapping[str, Any], request: str, _: str, *, narrower: bool) -> bool:
    path = match.get("path") or {"type": "PathPrefix", "value": "/"}
    kind, value = path.get("type", "PathPrefix"), str(path.get("value", "/"))
    if kind == "Exact":
        return value == request
    if kind == "RegularExpression":
        return _matches(value, request)
    prefix = value.rstrip("/")
    return narrower and (request == prefix or request.startswith(f"{prefix}/"))


def _method_takes(match: Mapping[str, Any], request: str, model: str, *, narrower: bool) -> bool:
    for header in match.get("headers") or []:
        exact = header.get("type", "Exact") == "Exact"
        if header["name"].lower() == MODEL_HEADER and exact and header["value"] != model:
            return False
    method = match.get("method") or {}
    kind = method.get("type", "Exact")
    for asked, value in ((GRPC_SERVICE, method.get("service")), (request, method.get("method"))):
        if value is None:
            if not narrower:
                return False
        elif (value != asked) if kind == "Exact" else not _matches(value, asked):
            return False
    return True


def _uri_takes(match: Mapping[str, Any], http: set[str], grpc: set[str], model: str) -> bool:
    uri = match.get("uri") or {}
    named = ((match.get("headers") or {}).get(MODEL_HEADER) or {}).get("exact", model)
    paths = http | grpc if named == model else http
    if "exact" in uri:
        return uri["exact"] in paths
    if "prefix" in uri and uri["prefix"] != "/":
        return any(path.startswith(uri["prefix"]) for path in paths)
    return "regex" in uri and any(_matches(uri["regex"], path) for path in paths)


def _matches(pattern: str, text: str) -> bool:
    """Whether the expression matches whole; one that cannot be read here is taken to."""
    try:
        return re.fullmatch(pattern, text) is not None
    except re.error:
        return True
