"""A route is written whole or told to be in pieces, used or told not to be, by both engines."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from canary.ports import Mirror, Route, Share
from infra.kubernetes.gateway_api import GatewayApiRouter
from infra.kubernetes.istio import IstioRouter
from infra.kubernetes.kinds import (
    DESTINATION_RULE,
    GRPC_ROUTE,
    HTTP_ROUTE,
    POD,
    SERVICE,
    VIRTUAL_SERVICE,
)
from infra.kubernetes.names import revision_name
from infra.kubernetes.route_engine import open_router
from infra.kubernetes.route_objects import GRPC_SERVICE, TOKEN, object_name, token_of
from infra.kubernetes.session_match import SESSION_HEADER
from registry.errors import (
    FencedError,
    PermanentEngineError,
    RetryableEngineError,
    UserError,
)
from registry.kubernetes_settings import KubernetesSection

from .api_server import Fault
from .router_plane import Asked, Plane, release_of
from .router_world import DOOR, PLANES, probe_of, put_revision, router_of

if TYPE_CHECKING:
    from infra.kubernetes.route_writing import ClusterRouter

    from .api_server import FakeCluster

MODEL, OBJECT = "speech", object_name("speech")
CARRIERS = {"gateway-api": (HTTP_ROUTE, GRPC_ROUTE), "istio": (VIRTUAL_SERVICE,)}


def route(*shares: tuple[int, int], token: int = 1, mirror: Mirror | None = None) -> Route:
    return Route(MODEL, tuple(Share(*share) for share in shares), token, mirror)


ALONE, HALF = route((1, 100)), route((1, 50), (2, 50))


@dataclass
class Edge:
    """A gateway over one API server, with two ready releases."""

    engine: str
    fake: FakeCluster
    plane: Plane
    router: ClusterRouter

    def answers(self, count: int = 60, protocol: str = "http") -> Counter[int | None]:
        """Who answers so many sessions of their own."""
        paths = {"http": f"/v2/models/{MODEL}/infer", "grpc": f"/{GRPC_SERVICE}/ModelInfer"}
        return Counter(
            release_of(
                self.plane.ask(
                    Asked(
                        protocol,
                        paths[protocol],
                        {SESSION_HEADER: str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))}
                        | {"x-model": MODEL},
                    )
                ).service
            )
            for number in range(count)
        )

    def patched(self) -> int:
        """Objects that were applied so far."""
        return sum(method == "PATCH" for method, _, _ in self.fake.asked)

    def carriers(self) -> list[dict[str, Any]]:
        found = [self.fake.find(kind, OBJECT) for kind in CARRIERS[self.engine]]
        return [one for one in found if one is not None]


@pytest.fixture(params=["gateway-api", "istio"])
def edge(request: pytest.FixtureRequest, fake: FakeCluster) -> Edge:
    plane = PLANES[request.param](np.random.default_rng(3))
    fake.controllers.append(plane.sync)
    for release in (1, 2):
        put_revision(fake, MODEL, release)
    return Edge(request.param, fake, plane, router_of(request.param, fake, plane))


gateway_api_only = pytest.mark.parametrize("edge", ["gateway-api"], indirect=True)
"""Istio's route is one object, and usually nobody writes its status."""
istio_only = pytest.mark.parametrize("edge", ["istio"], indirect=True)


# The API server


@gateway_api_only
def test_an_api_server_that_goes_between_two_objects_leaves_pieces_that_the_next_write_joins(
    edge: Edge,
) -> None:
    edge.router.write(ALONE)
    edge.fake.faults = [Fault(503, "PATCH", "grpcroutes", times=3)]
    with pytest.raises(RetryableEngineError, match="503"):
        edge.router.write(HALF)
    with pytest.raises(RetryableEngineError, match="do not say the same"):
        edge.router.read(MODEL)
    assert set(edge.answers(protocol="grpc")) == {1}
    edge.router.write(HALF)
    assert edge.router.read(MODEL) == HALF
    assert edge.answers(protocol="grpc") == edge.answers(protocol="http")
    assert set(edge.answers()) == {1, 2}


@gateway_api_only
def test_a_first_write_that_stops_half_way_is_no_route(edge: Edge) -> None:
    edge.fake.faults = [Fault(500, "PATCH", "grpcroutes", times=3)]
    with pytest.raises(RetryableEngineError):
        edge.router.write(ALONE)
    with pytest.raises(RetryableEngineError, match="only one of its objects"):
        edge.router.read(MODEL)
    edge.router.write(ALONE)
    assert edge.router.read(MODEL) == ALONE


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, "PATCH", retry_after="0"),
        Fault(503, "PATCH"),
        Fault(500, "GET", times=2),
        Fault(409, "PATCH"),
        Fault(503, "PATCH", after=True),  # done, and only the answer was lost
    ],
    ids=lambda fault: f"{fault.method}-{fault.status}{'-after' if fault.after else ''}",
)
def test_what_passes_is_tried_again(edge: Edge, fault: Fault) -> None:
    edge.router.write(ALONE)
    edge.fake.faults = [Fault(**vars(fault))]
    edge.router.write(HALF)
    assert not edge.fake.faults[0].times
    assert edge.router.read(MODEL) == HALF


def test_what_does_not_pass_ends(edge: Edge) -> None:
    edge.router.write(ALONE)
    plural = CARRIERS[edge.engine][0].plural
    edge.fake.faults = [Fault(409, "PATCH", plural, times=1000)]
    with pytest.raises(RetryableEngineError, match="others changed the route 5 times"):
        edge.router.write(HALF)
    edge.fake.faults = []
    edge.fake.down = True
    with pytest.raises(RetryableEngineError, match="does not answer"):
        edge.router.write(HALF)
    with pytest.raises(RetryableEngineError, match="does not answer"):
        edge.router.read(MODEL)
    edge.fake.down = False
    assert edge.router.read(MODEL) == ALONE


def test_the_same_route_again_is_no_write(edge: Edge) -> None:
    edge.router.write(HALF)
    before = edge.patched()
    edge.router.write(HALF)
    assert edge.patched() == before


# Fencing


def test_a_controller_that_was_fenced_off_meanwhile_stops(edge: Edge) -> None:
    """Another one writes after this one has looked and before it writes."""
    edge.router.write(ALONE)

    def other(fake: FakeCluster) -> None:
        method, plural, _ = fake.asked[-1]
        found = edge.carriers()[0]
        if method == "PATCH" and plural in {"httproutes", "virtualservices"}:
            found["metadata"]["annotations"][TOKEN] = "9"
            found["metadata"]["resourceVersion"] = "other"

    edge.fake.controllers.append(other)
    with pytest.raises(FencedError, match="token 9"):
        edge.router.write(HALF)
    assert set(edge.answers()) == {1}


def test_every_write_leaves_its_token(edge: Edge) -> None:
    edge.router.write(ALONE)
    edge.router.write(route((1, 100), token=5))
    assert [token_of(one) for one in edge.carriers()] == [5] * len(edge.carriers())
    with pytest.raises(FencedError):
        edge.router.write(route((1, 100), token=4))


# Whether it is used


@gateway_api_only
def test_a_route_that_the_controller_refuses_is_taken_back(edge: Edge) -> None:
    edge.router.write(ALONE)
    edge.plane.refusal = "NoMatchingListenerHostname"
    with pytest.raises(PermanentEngineError, match="NoMatchingListenerHostname"):
        edge.router.write(route((1, 50), (2, 50), token=3))
    edge.plane.refusal = ""
    assert edge.router.read(MODEL) == route((1, 100), token=3)
    assert set(edge.answers()) == {1}


@gateway_api_only
def test_a_first_route_that_is_refused_leaves_nothing(edge: Edge) -> None:
    edge.plane.refusal = "NotAllowedByListeners"
    with pytest.raises(PermanentEngineError):
        edge.router.write(ALONE)
    assert edge.carriers() == []
    assert edge.router.read(MODEL) is None


@gateway_api_only
def test_the_status_of_an_older_generation_says_nothing(edge: Edge) -> None:
    edge.router.write(ALONE)
    edge.plane.silent = True
    with pytest.raises(RetryableEngineError, match="said of an older one"):
        edge.router.write(HALF)
    with pytest.raises(RetryableEngineError, match="not in use"):
        edge.router.read(MODEL)
    edge.plane.silent = False
    before = edge.patched()
    edge.router.write(HALF)
    assert edge.patched() == before


@gateway_api_only
def test_a_gateway_without_a_controller_uses_nothing(edge: Edge) -> None:
    edge.plane.silent = True
    with pytest.raises(RetryableEngineError, match="no controller has looked"):
        edge.router.write(ALONE)


def test_proxies_that_are_late_are_found_out_by_probes(edge: Edge) -> None:
    edge.router.write(ALONE)
    edge.plane.late = True
    with pytest.raises(
        RetryableEngineError, match=r"still release 1 answers session .*-000000000000"
    ):
        edge.router.write(HALF)
    assert set(edge.answers()) == {1}
    edge.plane.late = False
    edge.router.write(HALF)
    assert set(edge.answers()) == {1, 2}


@pytest.mark.parametrize("weight", [49, 51])
def test_one_percent_too_few_or_too_many_is_found_out_by_probes(edge: Edge, weight: int) -> None:
    edge.router.write(route((1, 100 - weight), (2, weight)))
    edge.plane.late = True
    with pytest.raises(RetryableEngineError, match="still release"):
        edge.router.write(HALF)


@istio_only
def test_what_istio_says_counts_where_it_says_something(edge: Edge) -> None:
    edge.router.write(ALONE)
    (found,) = edge.carriers()
    generation = found["metadata"]["generation"]
    reconciled = {"type": "Reconciled", "status": "False", "message": "1/2 proxies"}
    found["status"] = {"observedGeneration": generation, "conditions": [reconciled]}
    with pytest.raises(RetryableEngineError, match="1/2 proxies"):
        edge.router.read(MODEL)
    reconciled["status"] = "True"
    assert edge.router.read(MODEL) == ALONE
    with pytest.raises(RetryableEngineError, match="not looked at it yet"):
        edge.router.write(HALF)
    found = edge.carriers()[0]
    found["status"] = {
        "observedGeneration": found["metadata"]["generation"],
        "validationMessages": [{"level": "ERROR", "type": {"name": "ReferencedResourceNotFound"}}],
    }
    with pytest.raises(PermanentEngineError, match="ReferencedResourceNotFound"):
        edge.router.write(HALF)


def test_istio_without_a_probe_is_refused(fake: FakeCluster) -> None:
    with pytest.raises(UserError, match="nothing would confirm"):
        IstioRouter(fake.client(), DOOR, probes={})


def test_without_a_listener_for_grpc_there_is_one_object(fake: FakeCluster) -> None:
    plane = PLANES["gateway-api"](np.random.default_rng(3))
    fake.controllers.append(plane.sync)
    put_revision(fake, MODEL, 1)
    http_only = replace(DOOR, grpc_listener="")
    router = GatewayApiRouter(fake.client(), http_only, probes={"http": probe_of(plane)})
    router.write(ALONE)
    assert router.read(MODEL) == ALONE
    assert fake.names(GRPC_ROUTE) == ()


def test_the_settings_choose_the_engine_and_its_probes(fake: FakeCluster) -> None:
    asked = KubernetesSection(route="istio", probe="http://edge.example.com")
    assert isinstance(open_router(asked, fake.client()), IstioRouter)
    assert isinstance(open_router(KubernetesSection(), fake.client()), GatewayApiRouter)
    with pytest.raises(UserError, match=r"\[kubernetes\] probe"):
        open_router(KubernetesSection(route="istio"), fake.client())
    with pytest.raises(UserError, match="share the listener"):
        open_router(KubernetesSection(grpc_listener="http"), fake.client())


# Who gets traffic


def test_a_candidate_without_a_ready_replica_gets_none(edge: Edge) -> None:
    edge.router.write(ALONE)
    put_revision(edge.fake, MODEL, 2, ready=False)
    before = edge.patched()
    with pytest.raises(RetryableEngineError, match="none of 1 replicas is ready"):
        edge.router.write(HALF)
    del edge.fake.objects[POD.plural, f"{revision_name(MODEL, 2)}-pod"]
    with pytest.raises(RetryableEngineError, match="none of 0 replicas"):
        edge.router.write(HALF)
    del edge.fake.objects[SERVICE.plural, revision_name(MODEL, 2)]
    with pytest.raises(PermanentEngineError, match="has no revision"):
        edge.router.write(HALF)
    assert edge.patched() == before
    assert edge.router.read(MODEL) == ALONE


def test_going_back_asks_nobody(edge: Edge) -> None:
    """Neither an unready baseline nor somebody's leak keeps traffic on the candidate."""
    edge.router.write(HALF)
    put_revision(edge.fake, MODEL, 1, ready=False)
    _leave_behind(edge)
    edge.router.write(ALONE)
    assert edge.router.read(MODEL) == ALONE


def test_a_rule_that_somebody_left_behind_is_found_before_a_weight_is_written(edge: Edge) -> None:
    edge.router.write(ALONE)
    _leave_behind(edge)
    assert set(edge.answers()) == {77}  # what a weight would be worth
    before = edge.patched()
    with pytest.raises(PermanentEngineError, match=r"left-behind takes requests to speech"):
        edge.router.write(HALF)
    assert edge.patched() == before


def _leave_behind(edge: Edge) -> None:
    """An older route to another Service, for the very path."""
    path = f"/v2/models/{MODEL}/infer"
    metadata = {"name": "a-left-behind", "creationTimestamp": "2020-01-01T00:00:00Z"}
    if edge.engine == "istio":
        rule = {
            "match": [{"uri": {"exact": path}}],
            "headers": {"request": {"set": {}}},
            "route": [{"destination": {"host": "old-r77"}, "weight": 100}],
        }
        spec = {"hosts": ["*"], "gateways": [f"{DOOR.gateway_namespace}/{DOOR.gateway}"]}
        edge.fake.put(VIRTUAL_SERVICE, {"metadata": metadata, "spec": spec | {"http": [rule]}})
        # Which of two VirtualServices comes first is nobody's promise; here, this one.
        edge.fake.objects = dict(reversed(edge.fake.objects.items()))
        edge.plane.sync(edge.fake)
        return
    header = {"type": "RegularExpression", "name": SESSION_HEADER, "value": ".+"}
    match = {"path": {"type": "Exact", "value": path}, "headers": [header]}
    parent = {"name": DOOR.gateway, "namespace": DOOR.gateway_namespace}
    rule = {"matches": [match], "backendRefs": [{"name": "old-r77"}]}
    edge.fake.put(
        HTTP_ROUTE, {"metadata": metadata, "spec": {"parentRefs": [parent], "rules": [rule]}}
    )
    edge.plane.sync(edge.fake)


def test_somebody_elses_edit_is_told_and_mended(edge: Edge) -> None:
    edge.router.write(HALF)
    spec = edge.carriers()[0]["spec"]
    last = (spec.get("rules") or spec["http"])[-1]
    last["timeouts" if "rules" in spec else "timeout"] = "1s"
    with pytest.raises(RetryableEngineError, match="somebody else changed"):
        edge.router.read(MODEL)
    edge.router.write(HALF)
    assert edge.router.read(MODEL) == HALF


@istio_only
def test_destinations_come_before_their_route_and_go_after_it(edge: Edge) -> None:
    edge.router.write(HALF)
    applied = [plural for method, plural, _ in edge.fake.asked if method == "PATCH"]
    assert applied == ["destinationrules", "destinationrules", "virtualservices"]
    edge.router.write(ALONE)
    assert edge.fake.names(DESTINATION_RULE) == (revision_name(MODEL, 1),)


# What requests meet


def test_both_protocols_have_the_same_sides(edge: Edge) -> None:
    edge.router.write(route((1, 70), (2, 30)))
    assert edge.answers(200) == edge.answers(200, protocol="grpc")
    assert 30 <= edge.answers(200)[2] <= 90


def test_copies_and_what_they_copy_name_who_was_asked(edge: Edge) -> None:
    edge.router.write(route((1, 100), mirror=Mirror(2, 25)))
    answers = [
        edge.plane.ask(Asked("http", f"/v2/models/{MODEL}/infer", {"x-sluice-shadow": "1"}))
        for _ in range(400)
    ]
    copies = [copied for answer in answers for copied in answer.copies]
    # 100 expected, standard deviation 9.
    assert 50 <= len(copies) <= 150
    assert {release_of(service) for service, _ in copies} == {2}
    marks = {headers["x-sluice-shadow"] for _, headers in copies}
    assert marks == {answer.headers["x-sluice-shadow"] for answer in answers} == {"to-1"}


def test_what_is_not_listed_meets_no_release(edge: Edge) -> None:
    edge.router.write(HALF)
    for path in ("versions/2/infer", "trace/setting", "unload", "../other/infer"):
        asked = Asked("http", f"/v2/models/{MODEL}/{path}", {"x-sluice-release": "2"})
        assert edge.plane.ask(asked).service is None
    other = {"x-model": "other"}
    assert edge.plane.ask(Asked("grpc", f"/{GRPC_SERVICE}/ModelInfer", other)).service is None
    assert edge.plane.ask(Asked("grpc", f"/{GRPC_SERVICE}/RepositoryIndex")).service is None
