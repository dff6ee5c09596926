"""What a route is made of, before it is written in the words of one API.

A model's requests fall into groups (inference, generation, questions about the model). In each
group the sessions that stick are parted by bucket, one rule a release, and what does not stick
falls to a last rule with plain weights. A rule that is not listed is not offered: repository
control, shared memory, tracing, pinned versions and the server as a whole stay inside the cluster.
Pure: it asks nobody.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from canary.ports import Mirror, Route, Share
from infra.kubernetes.names import COMPONENT_LABEL, model_labels, revision_name
from infra.kubernetes.pod_template import GRPC, HTTP
from infra.kubernetes.session_match import bucket_ranges
from model_repository.programs.common.records import MARK, WEIGHED
from registry.errors import PermanentEngineError, RetryableEngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from infra.kubernetes.kinds import Kind

Json = dict[str, Any]
Protocol = Literal["http", "grpc"]

GRPC_SERVICE = "inference.GRPCInferenceService"
MODEL_HEADER = "x-model"
"""A gRPC call's model: gateways do not read messages, so its caller says it in a header too."""
ANSWERED_BY = "x-sluice-release"
"""Tells a caller which release a rule sent the request to; says nothing where it is drawn."""
REQUEST_TIMEOUT = "30s"
TOKEN, WRITTEN, SPEC = "sluice.dev/token", "sluice.dev/route", "sluice.dev/spec-sha256"
"""Annotations: the fencing token, the route as it was written, and a hash of the spec then."""
_PORTS: Mapping[Protocol, int] = {"http": HTTP, "grpc": GRPC}


@dataclass(frozen=True)
class Door:
    """Where routes are attached, and how the Service of a model's release is called.

    `hosts` are those that callers use; none: every host. HTTP and gRPC have listeners of their
    own, because a Gateway accepts routes of one kind only for a host on a listener; an empty
    `grpc_listener` offers no gRPC.
    """

    namespace: str
    gateway: str
    gateway_namespace: str = ""
    hosts: tuple[str, ...] = ()
    http_listener: str = "http"
    grpc_listener: str = "grpc"
    service: Callable[[str, int], str] = revision_name

    def listener(self, protocol: Protocol) -> str:
        """The name of the Gateway's listener for requests of that protocol."""
        return self.http_listener if protocol == "http" else self.grpc_listener

    @property
    def of_gateway(self) -> str:
        """The Gateway's namespace."""
        return self.gateway_namespace or self.namespace

    def port(self, protocol: Protocol) -> int:
        """Of a revision's Service."""
        return _PORTS[protocol]


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests of one group and, with `buckets` [start, end), of those sessions only.

    `requests` are whole paths (HTTP) or methods (gRPC). Of several `shares` one is drawn for each
    request, by weight.
    """

    name: str
    protocol: Protocol
    model: str
    requests: tuple[str, ...]
    shares: tuple[Share, ...]
    buckets: tuple[int, int] | None = None
    mirror: Mirror | None = None
    endless: bool = False
    """Whether an answer may take as long as it takes."""

    @property
    def answered_by(self) -> int | None:
        """The release that answers, None where it is drawn."""
        return self.shares[0].release if len(self.shares) == 1 else None

    @property
    def mark(self) -> str:
        """What a request carries of who sent it: a copy says the same as what it is a copy of.

        So a release that finds another one named knows that it answers a copy.
        """
        return WEIGHED if self.answered_by is None else f"to-{self.answered_by}"

    @property
    def marks(self) -> Json:
        """Headers that each request gets; a caller's own are replaced."""
        return {MARK: self.mark}


def rules_of(route: Route, protocol: Protocol) -> tuple[Rule, ...]:
    """The rules of one protocol; those of sessions stand before the plain one of their group."""
    return tuple(
        rule
        for group, requests in _groups(route.model, protocol).items()
        for rule in _group_rules(route, protocol, group, requests)
    )


def looked_at(model: str) -> str:
    """The HTTP path by which a route is probed: it asks a release whether it is ready."""
    return f"/v2/models/{model}/ready"


def object_name(model: str) -> str:
    """Of every object of a model's route."""
    return f"sluice-{model}-route"


def manifest(kind: Kind, route: Route, spec: Json) -> Json:
    """The object, with the labels and annotations by which a reader knows who wrote what."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            "name": object_name(route.model),
            "labels": labels(route.model),
            "annotations": {
                TOKEN: str(route.token),
                WRITTEN: _to_json(route),
                SPEC: spec_hash(spec),
            },
        },
        "spec": spec,
    }


def spec_hash(spec: Any) -> str:
    """SHA-256 of a spec as JSON, in hexadecimal digits."""
    content = json.dumps(spec, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def labels(model: str) -> dict[str, str]:
    """By which a model's route objects are found."""
    return {**model_labels(model), COMPONENT_LABEL: "route"}


def token_of(found: Mapping[str, Any]) -> int:
    """The fencing token under which the object was written, 0 where it has none."""
    text = str((found["metadata"].get("annotations") or {}).get(TOKEN, ""))
    return int(text) if text.isdecimal() else 0


def written_route(found: Mapping[str, Any]) -> Route:
    """The route that the object's annotations tell. Raises RetryableEngineError for none."""
    annotations = found["metadata"].get("annotations") or {}
    try:
        told = json.loads(annotations[WRITTEN])
        shares = tuple(Share(int(release), int(weight)) for release, weight in told["shares"])
        mirror = Mirror(*map(int, told["mirror"])) if told["mirror"] else None
        return Route(str(told["model"]), shares, token_of(found), mirror)
    except (KeyError, TypeError, ValueError) as error:
        raise RetryableEngineError(
            "somebody took away what says which route it is",
            where=where(found),
            remedy="the next write makes it whole",
        ) from error


def restored(found: Mapping[str, Any], kind: Kind, token: int) -> Json:
    """The manifest that puts a stored object back as it was, under another token."""
    before = found["metadata"]
    annotations = before.get("annotations") or {}
    kept = {name: annotations[name] for name in (WRITTEN, SPEC) if name in annotations}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            "name": before["name"],
            "labels": dict(before.get("labels") or {}),
            "annotations": {**kept, TOKEN: str(token)},
        },
        "spec": found["spec"],
    }


def refuse_second_answers(route: Route) -> None:
    """Raise PermanentEngineError for a route that asks another release after a failure.

    Retries of Gateway API and of Istio go to where the first try went.
    """
    if route.retry_to is not None:
        raise PermanentEngineError(
            "a gateway cannot ask another release after a failure",
            where=route.model,
            remedy="set retry_to_baseline = false in the rollout's plan",
        )


def where(found: Mapping[str, Any]) -> str:
    """An object as a person names it."""
    return f"{found['kind']} {found['metadata']['name']}"


def _groups(model: str, protocol: Protocol) -> dict[str, tuple[str, ...]]:
    if protocol == "grpc":
        return {
            "infer": ("ModelInfer",),
            "generate": ("ModelStreamInfer",),
            "look": ("ModelReady", "ModelMetadata", "ModelConfig"),
        }
    rest = f"/v2/models/{model}"
    generating = (f"{one}/{end}" for one in (rest, f"{rest}.stream") for end in _GENERATE)
    return {
        "infer": (f"{rest}/infer",),
        "generate": tuple(generating),
        "look": (rest, looked_at(model), f"{rest}/config"),
    }


_GENERATE = ("generate", "generate_stream")


def _group_rules(
    route: Route, protocol: Protocol, group: str, requests: tuple[str, ...]
) -> Iterator[Rule]:
    weighted = tuple(share for share in route.shares if share.weight)
    endless, mirror = group == "generate", route.mirror if group == "infer" else None
    for release, buckets in bucket_ranges(weighted).items() if len(weighted) > 1 else ():
        yield Rule(
            f"{group}-r{release}",
            protocol,
            route.model,
            requests,
            (Share(release, 100),),
            buckets,
            None if mirror is None or mirror.release == release else mirror,
            endless,
        )
    # A copy of what the mirror's own release was asked would make no pair.
    drawn = mirror is not None and all(share.release != mirror.release for share in weighted)
    yield Rule(
        f"{group}-any",
        protocol,
        route.model,
        requests,
        weighted,
        mirror=mirror if drawn else None,
        endless=endless,
    )


def _to_json(route: Route) -> str:
    told = {
        "model": route.model,
        "shares": [[share.release, share.weight] for share in route.shares],
        "mirror": [route.mirror.release, route.mirror.percent] if route.mirror else None,
    }
    return json.dumps(told, separators=(",", ":"), sort_keys=True)
