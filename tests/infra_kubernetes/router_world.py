"""One model behind a gateway in a cluster: revisions in memory, routes in the API server.

The in-memory fleet and its counters are those of the pure tests; which release answers is decided
by the objects that stand in the API server, through the simulated proxies.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from canary.ports import RevisionState, Router
from infra.kubernetes.gateway_api import GatewayApiRouter
from infra.kubernetes.istio import IstioRouter
from infra.kubernetes.kinds import POD, SERVICE
from infra.kubernetes.names import revision_labels, revision_name
from infra.kubernetes.route_objects import ANSWERED_BY, GRPC_SERVICE, Door, looked_at
from infra.kubernetes.session_match import SESSION_HEADER

from ..canary.test_conformance import ConformingWorld
from ..canary.world import Behaviour, MemoryRouter
from .api_server import NAMESPACE
from .router_plane import Answer, Asked, GatewayPlane, IstioPlane, Plane, release_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from canary.ports import Route
    from infra.kubernetes.route_objects import Protocol
    from infra.kubernetes.route_probe import Probe
    from infra.kubernetes.route_writing import ClusterRouter

    from .api_server import FakeCluster

DOOR = Door(namespace=NAMESPACE, gateway="edge", gateway_namespace="gateways")
PLANES: dict[str, Callable[..., Plane]] = {"gateway-api": GatewayPlane, "istio": IstioPlane}


def probe_of(plane: Plane, protocol: Protocol = "http") -> Probe:
    """Asks the simulated proxies as the product's probe asks real ones."""

    def ask(model: str, session: str) -> int | None:
        path = looked_at(model) if protocol == "http" else f"/{GRPC_SERVICE}/ModelReady"
        told = plane.ask(Asked(protocol, path, {SESSION_HEADER: session, "x-model": model})).told
        return int(told[ANSWERED_BY]) if ANSWERED_BY in told else None

    return ask


def router_of(engine: str, fake: FakeCluster, plane: Plane, *, door: Door = DOOR) -> ClusterRouter:
    """The product's router, with short waits."""
    made: Any = IstioRouter if engine == "istio" else GatewayApiRouter
    probes = {"http": probe_of(plane), "grpc": probe_of(plane, "grpc")}
    router: ClusterRouter = made(fake.client(), door, probes=probes, confirm_s=0.2, poll_s=0.001)
    return router


def put_revision(fake: FakeCluster, model: str, release: int, *, ready: bool = True) -> None:
    """The objects by which a cluster tells of a revision: its Service and one pod."""
    selector, name = dict(revision_labels(model, release)), revision_name(model, release)
    status = {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    pod = {"metadata": {"name": f"{name}-pod", "labels": selector}, "status": status}
    if (found := fake.find(POD, f"{name}-pod")) is None or found["status"] != status:
        fake.put(POD, pod)
    if fake.find(SERVICE, name) is None:
        fake.put(SERVICE, {"metadata": {"name": name}, "spec": {"selector": selector}})


class GatewayWorld(ConformingWorld):
    """The world of the conformance tests, its requests routed by objects in the API server."""

    def __init__(self, engine: str, fake: FakeCluster) -> None:
        super().__init__(
            requests_per_s=0.0,
            behaviours={
                3: Behaviour(fails=True),
                4: Behaviour(unfit=True),
                9: Behaviour(published=False),
            },
        )
        self.fake = fake
        self.plane = PLANES[engine](self.random)
        fake.controllers += [self._show_revisions, self.plane.sync]
        self.router = NotedRouter(self, router_of(engine, fake, self.plane))

    def ask(self, session: str | None, path: str = "infer") -> Answer:
        """One request; callers name their sessions by UUIDs, the same for the same `session`."""
        named = (
            {}
            if session is None
            else {SESSION_HEADER: str(uuid.uuid5(uuid.NAMESPACE_URL, session))}
        )
        return self.plane.ask(Asked("http", f"/v2/models/{self.model}/{path}", named))

    def send(self, count: int, *, session: str | None = None) -> dict[int, int]:
        answered: dict[int, int] = {}
        for _ in range(count):
            answer = self.ask(session)
            release = release_of(answer.service)
            assert release is not None
            for by, well in self._answer(release, 1, session=session).items():
                answered[by] = answered.get(by, 0) + well
            for _ in answer.copies:
                self._mirror(release, 1)
        return answered

    def _side(self, session: str) -> int:
        release = release_of(self.ask(session).service)
        assert release is not None
        return release

    def _show_revisions(self, fake: FakeCluster) -> None:
        for release in self.revisions:
            ready = self.state(release) is RevisionState.READY
            put_revision(fake, self.model, release, ready=ready)


class NotedRouter(Router):
    """The router under test; what it wrote is noted for the counters in memory."""

    def __init__(self, world: GatewayWorld, router: Router) -> None:
        self._router = router
        self._notes = MemoryRouter(world)

    def write(self, route: Route) -> None:
        self._router.write(route)
        self._notes.write(route)

    def read(self, model: str) -> Route | None:
        return self._router.read(model)


__all__ = ["DOOR", "GatewayWorld", "probe_of", "put_revision", "router_of"]
