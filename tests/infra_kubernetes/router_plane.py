"""Gateways for tests: what a proxy does with the route objects that stand in the API server.

Written from the rules of Gateway API (precedence of matches) and of Istio (the first that
matches), and from nothing of the adapters. Chances are drawn from a generator that is handed in.
"""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra.kubernetes.kinds import (
    DESTINATION_RULE,
    GRPC_ROUTE,
    HTTP_ROUTE,
    SERVICE,
    VIRTUAL_SERVICE,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from .api_server import FakeCluster

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One request at the gateway. `path` is a gRPC call's too: /SERVICE/METHOD."""

    protocol: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    host: str = "speech.example.com"


@dataclass
class Answer:
    """`service` is None where no rule took the request; `copies` are (service, headers)."""

    service: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """As the revision sees them."""
    told: dict[str, str] = field(default_factory=dict)
    """As the caller sees them."""
    copies: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@dataclass
class Plane(ABC):
    """Proxies of one gateway, and the controller that tells them what stands in the cluster."""

    random: np.random.Generator
    silent: bool = False
    """Whether the controller writes no status."""
    late: bool = False
    """Whether the proxies still use what they had."""
    refusal: str = ""
    """Why the controller accepts no route."""
    used: list[Json] = field(default_factory=list)

    def sync(self, cluster: FakeCluster) -> None:
        """The controller's turn, as `FakeCluster.controllers` calls it."""
        kinds = (HTTP_ROUTE, GRPC_ROUTE, VIRTUAL_SERVICE, DESTINATION_RULE)
        plurals = {kind.plural for kind in kinds}
        objects = [one for (plural, _), one in cluster.objects.items() if plural in plurals]
        for one in objects:
            if one["kind"] in {HTTP_ROUTE.name, GRPC_ROUTE.name} and not self.silent:
                self._tell(cluster, one)
        if not self.late:
            self.used = copy.deepcopy(objects)

    @abstractmethod
    def ask(self, asked: Asked) -> Answer:
        """What the gateway does with a request."""

    def _tell(self, cluster: FakeCluster, one: Json) -> None:
        generation = one["metadata"]["generation"]
        references = {
            to["name"] for rule in one["spec"]["rules"] for to in rule.get("backendRefs", [])
        }
        missing = sorted(references - set(cluster.names(SERVICE)))
        accepted = (not self.refusal, self.refusal or "Accepted")
        resolved = (not missing, "BackendNotFound" if missing else "ResolvedRefs")
        conditions = [
            {
                "type": name,
                "status": "True" if well else "False",
                "reason": reason,
                "message": ", ".join(missing),
                "observedGeneration": generation,
            }
            for name, (well, reason) in {"Accepted": accepted, "ResolvedRefs": resolved}.items()
        ]
        parents = [
            {"parentRef": parent, "controllerName": "example.com/gateway", "conditions": conditions}
            for parent in one["spec"]["parentRefs"]
        ]
        if one.get("status") != {"parents": parents}:
            one["status"] = {"parents": parents}
            cluster.version += 1
            one["metadata"]["resourceVersion"] = str(cluster.version)

    def _drawn(self, weighted: list[tuple[Any, int]]) -> Any:
        point = self.random.random() * sum(weight for _, weight in weighted)
        for one, weight in weighted:
            point -= weight
            if point < 0:
                return one
        return weighted[-1][0]


class GatewayPlane(Plane):
    """Proxies of a Gateway of Gateway API v1."""

    def ask(self, asked: Asked) -> Answer:
        kind = HTTP_ROUTE.name if asked.protocol == "http" else GRPC_ROUTE.name
        found = [
            (_precedence(match, one, number), rule)
            for one in self.used
            if one["kind"] == kind and _has_host(one["spec"].get("hostnames"), asked.host)
            for number, rule in enumerate(one["spec"]["rules"])
            for match in rule.get("matches") or [{}]
            if _matches(match, asked)
        ]
        if not found:
            return Answer()
        # The highest precedence; of equals the oldest object's first rule.
        rule = min(found, key=lambda pair: pair[0])[1]
        answer = Answer(headers=dict(asked.headers))
        weighted = [(to["name"], to.get("weight", 1)) for to in rule["backendRefs"]]
        answer.service = self._drawn(weighted)
        mirrors = []
        for one in rule.get("filters", []):
            if one["type"] == "RequestHeaderModifier":
                answer.headers |= _set(one["requestHeaderModifier"])
            elif one["type"] == "ResponseHeaderModifier":
                answer.told |= _set(one["responseHeaderModifier"])
            else:
                assert one["type"] == "RequestMirror"
                mirrors.append(one["requestMirror"])
        for mirror in mirrors:
            if self.random.random() * 100 < mirror.get("percent", 100):
                answer.copies.append((mirror["backendRef"]["name"], dict(answer.headers)))
        return answer


class IstioPlane(Plane):
    """Proxies of an Istio ingress gateway."""

    def ask(self, asked: Asked) -> Answer:
        for rule in self._rules(asked):
            to = self._drawn([(one, one.get("weight", 0)) for one in rule["route"]])
            answer = Answer(service=_host_of(to["destination"]))
            answer.headers = {**asked.headers, **rule.get("headers", {})["request"]["set"]}
            answer.told = dict(to.get("headers", {}).get("response", {}).get("set", {}))
            for mirror in rule.get("mirrors", []):
                if self.random.random() * 100 < mirror["percentage"]["value"]:
                    answer.copies.append((_host_of(mirror["destination"]), dict(answer.headers)))
            return answer
        return Answer()

    def _rules(self, asked: Asked) -> Iterator[Json]:
        """Those that match, in their order."""
        for one in self.used:
            if one["kind"] != VIRTUAL_SERVICE.name or not _has_host(
                one["spec"]["hosts"], asked.host
            ):
                continue
            for rule in one["spec"]["http"]:
                if any(_istio_matches(match, asked) for match in rule.get("match") or [{}]):
                    yield rule


def release_of(service: str | None) -> int | None:
    """The release in a Service's name."""
    return None if service is None else int(service.rpartition("-r")[2])


def _host_of(destination: Mapping[str, Any]) -> str:
    return str(destination["host"]).partition(".")[0]


def _set(modifier: Mapping[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in modifier["set"]}


def _has_host(hosts: list[str] | None, host: str) -> bool:
    return not hosts or any(
        one in {"*", host} or (one.startswith("*.") and host.endswith(one[1:])) for one in hosts
    )


def _precedence(match: Json, one: Json, number: int) -> tuple[Any, ...]:
    """Smaller is first, as the documentation of HTTPRouteRule and GRPCRouteRule orders them."""
    path, method = match.get("path", {}), match.get("method", {})
    return (
        0 if path.get("type") == "Exact" else 1,
        -len(path.get("value", "")),
        -len(method.get("service", "")),
        -len(method.get("method", "")),
        -len(match.get("headers", [])),
        one["metadata"]["creationTimestamp"],
        one["metadata"]["name"],
        number,
    )


def _matches(match: Json, asked: Asked) -> bool:
    if "path" in match:
        kind, value = match["path"]["type"], match["path"]["value"]
        if kind == "Exact" and asked.path != value:
            return False
        prefix = value.rstrip("/")
        if (
            kind == "PathPrefix"
            and asked.path != prefix
            and not asked.path.startswith(f"{prefix}/")
        ):
            return False
    if "method" in match:
        service, _, method = asked.path.removeprefix("/").partition("/")
        wanted = match["method"]
        if wanted.get("service", service) != service or wanted.get("method", method) != method:
            return False
    return all(_header_matches(header, asked) for header in match.get("headers", []))


def _header_matches(header: Json, asked: Asked) -> bool:
    value = asked.headers.get(header["name"])
    if value is None:
        return False
    if header["type"] == "RegularExpression":
        return re.fullmatch(header["value"], value) is not None
    return bool(value == header["value"])


def _istio_matches(match: Json, asked: Asked) -> bool:
    uri = match.get("uri", {})
    if "exact" in uri and asked.path != uri["exact"]:
        return False
    if "prefix" in uri and not asked.path.startswith(uri["prefix"]):
        return False
    for name, wanted in match.get("headers", {}).items():
        value = asked.headers.get(name)
        if value is None or ("exact" in wanted and value != wanted["exact"]):
            return False
        if "regex" in wanted and re.fullmatch(wanted["regex"], value) is None:
            return False
    return True
