"""A route in the words of Gateway API, as an HTTPRoute and a GRPCRoute, and back.

Gateway API v1.4 or later: names of rules, and mirrors of a part of the requests, are standard
there. Every default of the API is written out, so that what is stored is what was written and a
difference is somebody's change. Pure: routes in, manifests out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from canary.ports import Mirror
from infra.kubernetes.kinds import GRPC_ROUTE, HTTP_ROUTE
from infra.kubernetes.route_objects import (
    ANSWERED_BY,
    GRPC_SERVICE,
    MODEL_HEADER,
    REQUEST_TIMEOUT,
    manifest,
    rules_of,
)
from infra.kubernetes.route_reading import by_weight, matching
from infra.kubernetes.session_match import SESSION_HEADER, session_pattern
from registry.errors import PermanentEngineError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canary.ports import Route, Share
    from infra.kubernetes.kinds import Kind
    from infra.kubernetes.route_objects import Door, Json, Protocol, Rule

KINDS: dict[Protocol, Kind] = {"http": HTTP_ROUTE, "grpc": GRPC_ROUTE}
MOST_RULES, MOST_MATCHES = 16, 64
"""Of one object; in a rule alone 64 matches were allowed, but no more than that in all."""


def refuse_shared_listener(door: Door) -> None:
    """Raise UserError where the Gateway would accept only one of a model's two routes."""
    if door.http_listener == door.grpc_listener:
        raise UserError(
            f"HTTP and gRPC share the listener {door.http_listener!r}, which takes one of them",
            where="[kubernetes] grpc_listener",
            remedy="give the Gateway a listener for gRPC on a port or host of its own",
        )


def manifest_of(route: Route, door: Door, protocol: Protocol) -> Json:
    """The HTTPRoute or the GRPCRoute. Raises PermanentEngineError when it would be too large."""
    rules = rules_of(route, protocol)
    matches = sum(len(rule.requests) for rule in rules)
    if len(rules) > MOST_RULES or matches > MOST_MATCHES:
        raise PermanentEngineError(
            f"{len(route.shares)} releases need {len(rules)} rules and {matches} matches",
            where=route.model,
            remedy=f"an HTTPRoute holds {MOST_RULES} rules; route fewer releases at a time",
        )
    parent = {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": door.gateway,
        "namespace": door.of_gateway,
        "sectionName": door.listener(protocol),
    }
    spec = {
        "parentRefs": [parent],
        **({"hostnames": list(door.hosts)} if door.hosts else {}),
        "rules": [_rule(rule, door) for rule in rules],
    }
    return manifest(KINDS[protocol], route, spec)


def route_of(found: Mapping[str, Any], door: Door, protocol: Protocol) -> Route:
    """The route that the object has gateways carry out, its token that of its writer.

    Raises RetryableEngineError when somebody else changed it into what is no route of ours.
    """
    rules: list[Any] = (found.get("spec") or {}).get("rules") or []
    return matching(
        found,
        lambda written: _seen(written, rules, door),
        lambda route: manifest_of(route, door, protocol),
    )


def _seen(written: Route, rules: list[Any], door: Door) -> Route:
    """The route with the weights and the mirror that the rules really have."""
    releases = [share.release for share in written.shares]
    releases += [written.mirror.release] if written.mirror else []
    known = {door.service(written.model, release): release for release in releases}
    weights, mirror = {}, written.mirror
    for rule in rules:
        for one in rule.get("filters", []):
            if one["type"] == "RequestMirror":
                told = one["requestMirror"]
                mirror = Mirror(known[told["backendRef"]["name"]], int(told.get("percent", 100)))
        if rule.get("name") == "infer-any":
            weights = {known[to["name"]]: int(to.get("weight", 1)) for to in rule["backendRefs"]}
    return by_weight(replace(written, mirror=mirror), weights)


def _rule(rule: Rule, door: Door) -> Json:
    made: Json = {
        "name": rule.name,
        "matches": list(_matches(rule)),
        "filters": list(_filters(rule, door)),
        "backendRefs": [_backend(rule, share, door) for share in rule.shares],
    }
    if rule.protocol == "http":
        made["timeouts"] = {"request": "0s" if rule.endless else REQUEST_TIMEOUT}
    return made


def _matches(rule: Rule) -> Iterator[Json]:
    headers = [_exact(MODEL_HEADER, rule.model)] if rule.protocol == "grpc" else []
    if rule.buckets is not None:
        pattern = session_pattern(*rule.buckets)
        headers.append({"type": "RegularExpression", "name": SESSION_HEADER, "value": pattern})
    for request in rule.requests:
        asked = (
            {"path": {"type": "Exact", "value": request}}
            if rule.protocol == "http"
            else {"method": {"type": "Exact", "service": GRPC_SERVICE, "method": request}}
        )
        yield {**asked, **({"headers": headers} if headers else {})}


def _filters(rule: Rule, door: Door) -> Iterator[Json]:
    marks = [{"name": name, "value": value} for name, value in rule.marks.items()]
    yield {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": marks}}
    if rule.answered_by is not None:
        told = [{"name": ANSWERED_BY, "value": str(rule.answered_by)}]
        yield {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": told}}
    if rule.mirror is not None:
        to = _reference(rule, rule.mirror.release, door)
        part = {"percent": rule.mirror.percent} if rule.mirror.percent < 100 else {}
        yield {"type": "RequestMirror", "requestMirror": {"backendRef": to, **part}}


def _backend(rule: Rule, share: Share, door: Door) -> Json:
    return {**_reference(rule, share.release, door), "weight": share.weight}


def _reference(rule: Rule, release: int, door: Door) -> Json:
    name = door.service(rule.model, release)
    return {"group": "", "kind": "Service", "name": name, "port": door.port(rule.protocol)}


def _exact(name: str, value: str) -> Json:
    return {"type": "Exact", "name": name, "value": value}
