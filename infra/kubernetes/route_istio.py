"""A route in the words of Istio: one VirtualService for both protocols, and how it is read back.

Both protocols stand in one object, so a write is whole or it is not. Each routed release has a
DestinationRule, by which a session stays with one replica of its release. Pure: routes in,
manifests out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from canary.ports import Mirror
from infra.kubernetes.kinds import DESTINATION_RULE, VIRTUAL_SERVICE
from infra.kubernetes.route_objects import (
    ANSWERED_BY,
    GRPC_SERVICE,
    MODEL_HEADER,
    REQUEST_TIMEOUT,
    labels,
    manifest,
    rules_of,
)
from infra.kubernetes.route_reading import by_weight, matching
from infra.kubernetes.session_match import SESSION_HEADER, session_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canary.ports import Route
    from infra.kubernetes.route_objects import Door, Json, Rule

IDLE_TIMEOUT = "1s"
"""A Triton that stops waits for its connections to close before it unloads the model."""
_ENDLESS = "0s"


def virtual_service(route: Route, door: Door) -> Json:
    """The rules of both protocols, those of sessions first: Istio takes the first that matches."""
    rules = (*rules_of(route, "http"), *rules_of(route, "grpc"))
    spec = {
        "hosts": list(door.hosts) or ["*"],
        "gateways": [f"{door.of_gateway}/{door.gateway}"],
        "http": [_rule(rule, door) for rule in rules],
    }
    return manifest(VIRTUAL_SERVICE, route, spec)


def destination_rules(route: Route, door: Door) -> list[Json]:
    """One for each release that gets requests or copies."""
    releases = {share.release for share in route.shares if share.weight}
    releases |= {route.mirror.release} if route.mirror else set()
    return [_destination_rule(route.model, release, door) for release in sorted(releases)]


def route_of(found: Mapping[str, Any], door: Door) -> Route:
    """The route that the VirtualService has proxies carry out.

    Raises RetryableEngineError when somebody else changed it into what is no route of ours.
    """
    rules: list[Any] = (found.get("spec") or {}).get("http") or []
    return matching(
        found,
        lambda written: _seen(written, rules, door),
        lambda route: virtual_service(route, door),
    )


def _seen(written: Route, rules: list[Any], door: Door) -> Route:
    releases = [share.release for share in written.shares]
    releases += [written.mirror.release] if written.mirror else []
    known = {_host(written.model, release, door): release for release in releases}
    weights, mirror = {}, written.mirror
    for rule in rules:
        for copy in rule.get("mirrors", []):
            percent = int(copy["percentage"]["value"])
            mirror = Mirror(known[copy["destination"]["host"]], percent)
        if rule.get("name") == "http-infer-any":
            weights = {known[to["destination"]["host"]]: int(to["weight"]) for to in rule["route"]}
    return by_weight(replace(written, mirror=mirror), weights)


def _rule(rule: Rule, door: Door) -> Json:
    made: Json = {
        "name": f"{rule.protocol}-{rule.name}",
        "match": list(_matches(rule)),
        "route": [
            {
                "destination": _destination(rule, share.release, door),
                "weight": share.weight,
                "headers": {"response": {"set": {ANSWERED_BY: str(share.release)}}},
            }
            for share in rule.shares
        ],
        "headers": {"request": {"set": rule.marks}},
        "timeout": _ENDLESS if rule.endless else REQUEST_TIMEOUT,
        # Istio would ask twice more and hide a release's failures.
        "retries": {"attempts": 0},
    }
    if rule.mirror is not None:
        made["mirrors"] = [
            {
                "destination": _destination(rule, rule.mirror.release, door),
                "percentage": {"value": rule.mirror.percent},
            }
        ]
    return made


def _matches(rule: Rule) -> Iterator[Json]:
    headers: Json = {MODEL_HEADER: {"exact": rule.model}} if rule.protocol == "grpc" else {}
    if rule.buckets is not None:
        headers[SESSION_HEADER] = {"regex": session_pattern(*rule.buckets)}
    for request in rule.requests:
        path = request if rule.protocol == "http" else f"/{GRPC_SERVICE}/{request}"
        yield {"uri": {"exact": path}, **({"headers": headers} if headers else {})}


def _destination(rule: Rule, release: int, door: Door) -> Json:
    return {
        "host": _host(rule.model, release, door),
        "port": {"number": door.port(rule.protocol)},
    }


def _host(model: str, release: int, door: Door) -> str:
    return f"{door.service(model, release)}.{door.namespace}.svc.cluster.local"


def _destination_rule(model: str, release: int, door: Door) -> Json:
    return {
        "apiVersion": DESTINATION_RULE.api_version,
        "kind": DESTINATION_RULE.name,
        "metadata": {
            "name": door.service(model, release),
            "labels": labels(model),
        },
        "spec": {
            "host": _host(model, release, door),
            "trafficPolicy": {
                "connectionPool": {"http": {"idleTimeout": IDLE_TIMEOUT}},
                "loadBalancer": {"consistentHash": {"httpHeaderName": SESSION_HEADER}},
            },
        },
    }
